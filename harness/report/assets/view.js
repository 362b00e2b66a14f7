// What the reader has chosen, and the same in the address: a link shows what its sender saw.

const view = { place: {}, hidden: new Set(), controls: new Map() };

function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  view.place = { ...index.groups[0].place };
  view.hidden = new Set((found.get("hide") ?? "").split("|").filter((name) => index.methods.includes(name)));
  view.controls = new Map();
  for (const [key, value] of found) {
    if (key in view.place) view.place[key] = value;
    else if (key.includes(".")) view.controls.set(key, value);
  }
}

// Only what differs from how the page opens.
function writeAddress() {
  const wanted = new URLSearchParams();
  for (const [key, value] of Object.entries(view.place)) {
    if (value !== index.groups[0].place[key]) wanted.set(key, value);
  }
  if (view.hidden.size) wanted.set("hide", [...view.hidden].join("|"));
  for (const [key, value] of view.controls) wanted.set(key, value);
  const text = wanted.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// The setting that shares most with what is wanted; `fixed` is the field just chosen.
function nearest(fixed) {
  const shared = (group) => Object.entries(view.place).reduce(
    (sum, [key, value]) => sum + (group.place[key] === value) * (key === fixed ? 100 : 1), 0);
  const scores = index.groups.map(shared);
  return scores.indexOf(Math.max(...scores));
}
