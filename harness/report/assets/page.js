"use strict";
// Picks the variant of each figure that its controls ask for. All figures come ready from Python.

const variants = JSON.parse(document.getElementById("variants").textContent);
const darkColours = JSON.parse(document.getElementById("dark-colours").textContent);
const darkTheme = matchMedia("(prefers-color-scheme: dark)");
const hiddenMethods = new Set();

// Control name -> chosen value, in the order of the controls.
function choices(panel) {
  const pairs = [...panel.querySelectorAll("[data-control]")].map((control) => [
    control.dataset.control,
    control.value ?? control.querySelector('[aria-pressed="true"]').value,
  ]);
  return Object.fromEntries(pairs);
}

// Colours are written for the light theme; each has one counterpart in the dark theme.
function themed(figure) {
  const text = JSON.stringify(figure);
  const swap = (colour) => darkColours[colour] ?? colour;
  return JSON.parse(darkTheme.matches ? text.replace(/#[0-9a-f]{6}/g, swap) : text);
}

// A line belongs to one method (meta); a bar trace has one method per bar (customdata).
function withoutHidden(trace) {
  if (!trace.customdata) return trace;
  const keep = (_, i) => !hiddenMethods.has(trace.customdata[i]);
  const part = { ...trace };
  for (const key of ["x", "y", "hovertext"]) part[key] = trace[key].filter(keep);
  part.customdata = trace.customdata.filter(keep);
  return part;
}

function draw(panel) {
  const { scale, ...picked } = choices(panel);
  const variant = variants[panel.id][Object.values(picked).join("|")];
  const { data, layout } = themed(variant.figure);
  for (const [axis, patch] of Object.entries(variant.scales[scale] ?? {})) {
    Object.assign(layout[axis], patch);
  }
  const shown = data.filter((trace) => !hiddenMethods.has(trace.meta)).map(withoutHidden);
  const plot = panel.querySelector(".plot");
  plot.setAttribute("aria-label", variant.sentence);
  panel.querySelector(".sentence").textContent = variant.sentence;
  for (const sheet of panel.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== variant.table;
  return Plotly.react(plot, shown, layout, { displayModeBar: false, responsive: true });
}

function drawAll() {
  for (const panel of document.querySelectorAll(".group:not([hidden]) .panel")) draw(panel);
}

function compare(first, second) {
  const [a, b] = [first, second].map((cell) => cell.dataset.value ?? cell.textContent);
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = Number(a) - Number(b);
  return Number.isNaN(difference) ? a.localeCompare(b) : difference;
}

function sort(head) {
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = head.closest("table").tBodies[0];
  const rows = [...body.rows].sort((first, second) =>
    compare(first.cells[head.cellIndex], second.cells[head.cellIndex]) * (ascending ? 1 : -1));
  body.append(...rows);
}

// Numbers in full; a column with intervals becomes three.
function csv(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const lines = rows.map(() => []);
  const heads = [];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const cells = rows.map((row) => row.cells[column]);
    const name = head.textContent;
    const parts = cells.some((cell) => "low" in cell.dataset) ? ["value", "low", "high"] : ["value"];
    for (const part of parts) {
      heads.push(part === "value" ? name : `${name} ${part}`);
      cells.forEach((cell, i) => lines[i].push(
        cell.dataset[part] ?? (part === "value" ? cell.textContent : "")));
    }
  });
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [heads, ...lines].map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function download(button) {
  const table = button.parentNode.querySelector("table");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
  link.download = button.dataset.file;
  link.click();
  URL.revokeObjectURL(link.href);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.closest(".choice")) {
    for (const other of button.parentNode.children) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    draw(button.closest(".panel"));
  } else if (button.matches(".download")) {
    download(button);
  } else if (button.closest("thead")) {
    sort(button.closest("th"));
  }
});

document.addEventListener("change", ({ target }) => {
  if (target.id === "page-group") {
    for (const group of document.querySelectorAll(".group")) {
      group.hidden = group.dataset.group !== target.value;
    }
    drawAll();
  } else if (target.closest("#methods")) {
    hiddenMethods[target.checked ? "delete" : "add"](target.value);
    for (const row of document.querySelectorAll("tr[data-method]")) {
      row.hidden = hiddenMethods.has(row.dataset.method);
    }
    drawAll();
  } else if (target.closest(".panel")) {
    draw(target.closest(".panel"));
  }
});

darkTheme.addEventListener("change", drawAll);
drawAll();
