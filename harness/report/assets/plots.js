// Draws the variant of each figure that its controls ask for, when it comes into sight.

const darkColours = index.dark;
const darkTheme = matchMedia("(prefers-color-scheme: dark)");
const FEW = 10; // methods that a legend inside a figure may name; the list on top names them all
let panels = {};

const figures = () => [...document.querySelectorAll(".panel")];

// Control name -> chosen value, in the order of the controls.
function choices(panel) {
  const pairs = [...panel.querySelectorAll("[data-control]")].map((control) => [
    control.dataset.control,
    control.value ?? control.querySelector('[aria-pressed="true"]').value,
  ]);
  return Object.fromEntries(pairs);
}

// Some combinations were not measured: then the nearest that was, from the left.
function variantOf(panel) {
  const { scale, curve, ...picked } = choices(panel);
  const { variants } = panels[panel.id];
  const wanted = Object.values(picked);
  for (let kept = wanted.length; kept > 0; kept -= 1) {
    const start = wanted.slice(0, kept);
    const found = Object.keys(variants).find((key) =>
      start.every((value, i) => JSON.parse(key)[i] === value));
    if (found) return { scale, curve, variant: variants[found] };
  }
  return { scale, curve, variant: Object.values(variants)[0] };
}

// Colours are written for the light theme; each has one counterpart in the dark theme.
function themed(figure) {
  const text = JSON.stringify(figure);
  const swap = (colour) => darkColours[colour] ?? colour;
  return JSON.parse(darkTheme.matches ? text.replace(/#[0-9a-f]{6}/g, swap) : text);
}

// A trace belongs to one method (meta), or has a method per bar (customdata).
function withoutHidden(trace) {
  if (!trace.customdata) return trace;
  const keep = (_, i) => !view.hidden.has(trace.customdata[i]);
  const part = { ...trace };
  for (const key of ["x", "y", "hovertext"]) part[key] = trace[key].filter(keep);
  part.customdata = trace.customdata.filter(keep);
  return part;
}

// Either measured points with lines between them, or the points with the fitted law.
function curved(traces, curve) {
  const isLaw = (trace) => (trace.uid ?? "").startsWith("law:");
  if (curve !== "law" || !traces.some(isLaw)) return traces.filter((trace) => !isLaw(trace));
  const fitted = new Set(traces.filter(isLaw).map((trace) => trace.meta));
  return traces.map((trace) =>
    !isLaw(trace) && fitted.has(trace.meta) ? { ...trace, mode: "markers" } : trace);
}

function draw(panel) {
  delete panel.dataset.stale;
  const { scale, curve, variant } = variantOf(panel);
  const { data, layout } = themed(variant.figure);
  for (const [axis, patch] of Object.entries(variant.scales[scale] ?? {})) {
    Object.assign(layout[axis], patch);
  }
  const there = data.filter((trace) => !view.hidden.has(trace.meta));
  const shown = curved(there.map(withoutHidden), curve);
  const named = shown.filter((trace) => trace.meta && trace.showlegend !== false).length;
  if (named > FEW) layout.showlegend = false;
  const plot = panel.querySelector(".plot");
  plot.style.height = `${layout.height}px`;
  return Plotly.react(plot, shown, layout, { displayModeBar: false, responsive: true });
}

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && target.dataset.stale && window.Plotly) draw(target);
  }
}, { rootMargin: "200px" });

// The words at once, the picture when it is looked at.
function refresh(panel) {
  const { variant } = variantOf(panel);
  panel.querySelector(".plot").setAttribute("aria-label", variant.sentence);
  const sentence = panel.querySelector(".sentence");
  if (sentence.textContent !== variant.sentence) sentence.textContent = variant.sentence;
  fillTable(panel, variant.table);
  panel.dataset.stale = "yes";
  sight.unobserve(panel);
  sight.observe(panel);
}

const refreshAll = () => figures().forEach(refresh);
const drawAll = () => figures().filter((panel) => panel.dataset.stale).forEach(draw);
addEventListener("beforeprint", drawAll);
darkTheme.addEventListener("change", refreshAll);
