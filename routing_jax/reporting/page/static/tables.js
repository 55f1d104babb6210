// Tables that a click on a column's head sorts: by numbers where a cell has one, else by text.

function compareCells(one, other, sign) {
  const [a, b] = [one, other].map((cell) => cell.dataset.number);
  if (a !== undefined && b !== undefined) return sign * (Number(a) - Number(b));
  // What has no number stands behind what has one, in both directions.
  if (a !== undefined || b !== undefined) return a === undefined ? 1 : -1;
  return sign * one.textContent.localeCompare(other.textContent, undefined, { numeric: true });
}

function sortTable(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const up = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const sign = up ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => compareCells(one.cells[column], other.cells[column], sign));
  table.tBodies[0].append(...rows);
}

function makeSortable() {
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sortTable(table, column));
    });
  }
}
