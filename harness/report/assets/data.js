"use strict";
// Unpacks what Python has put into the page: gzipped JSON, one block a setting, and Plotly itself.

const index = JSON.parse(document.getElementById("index").textContent);
const unpacked = new Map();

async function unpack(name) {
  const text = atob(document.getElementById(name).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// A setting's panels: name -> variants by control values, and tables as HTML.
async function setting(number) {
  if (!unpacked.has(number)) unpacked.set(number, JSON.parse(await unpack(`g${number}`)));
  return unpacked.get(number);
}

async function loadPlotly() {
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script);
}
