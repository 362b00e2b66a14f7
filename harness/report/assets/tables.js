// Tables: filled when opened, sorted by any column, downloaded as CSV.

function fillTable(panel, name) {
  const box = panel.querySelector("details.data");
  box.dataset.table = name;
  if (box.open) openTable(box);
}

function openTable(box) {
  const { id } = box.closest("[id]");
  const sheet = box.querySelector(".sheet");
  if (sheet.dataset.table !== box.dataset.table) {
    sheet.innerHTML = panels[id].tables[box.dataset.table];
    sheet.dataset.table = box.dataset.table;
  }
  hideRows(sheet);
}

function hideRows(root) {
  for (const row of root.querySelectorAll("tr[data-method]")) {
    row.hidden = view.hidden.has(row.dataset.method);
  }
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

async function copy(button) {
  await navigator.clipboard.writeText(button.closest("td").dataset.value);
  button.textContent = "Copied";
}
