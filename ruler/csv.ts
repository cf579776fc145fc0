/**
 * Rows of comma-separated values as pandas' `to_csv` writes them, and the plain splitting with which
 * `gather_results_ruler.py` reads them back.
 *
 * @module
 */

/**
 * Rows as text: fields are quoted only where they must be, every row ends in a newline.
 *
 * @param rows The fields of each row.
 */
export function formatCsv(rows: readonly (readonly string[])[]): string {
  return rows.map((row) => `${row.map(quoteField).join(",")}\n`).join("");
}

function quoteField(field: string): string {
  return /[,"\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field;
}

/** How wide a terminal is taken to be where there is none. */
export const USUAL_COLUMNS = 80;

/**
 * A small table as pandas 1.5 prints it: columns numbered from 0 and aligned to the right, rows with
 * their number in front. What a terminal has no room for is left out of the middle, and the size of
 * the whole table is said below it.
 *
 * @param rows Equally many cells in each row.
 * @param terminalColumns The terminal's width in characters.
 */
export function formatFrame(
  rows: readonly (readonly string[])[],
  terminalColumns: number,
): string {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const index = ["", ...rows.keys()].map(String);
  // The columns' numbers are made equally long, to their right.
  const digits = String(count - 1).length;
  const columns = Array.from({ length: count }, (_, column) => {
    const cells = [String(column).padEnd(digits), ...rows.map((row) => row[column] ?? "")];
    // Every column has a space of its own in front.
    const width = Math.max(...cells.map((cell) => cell.length)) + 1;
    return cells.map((cell) => cell.padStart(width));
  });
  const kept = fittingColumns(columns, terminalColumns);
  if (kept >= count) return joinColumns([index, ...columns]);
  const half = Math.floor(kept / 2);
  const dots = index.map(() => " ...");
  const shown = [index, ...columns.slice(0, half), dots, ...columns.slice(-half)];
  return `${joinColumns(shown)}\n\n[${rows.length} rows x ${count} columns]`;
}

/** How many columns pandas shows: it takes one out of the middle until the rest should fit. */
function fittingColumns(
  columns: readonly (readonly string[])[],
  terminalColumns: number,
): number {
  // The rows' numbers are the first column.
  const widths = [1, ...columns.map(([cell = ""]) => cell.length)];
  const lineLength = widths.reduce((sum, width) => sum + width + 1, -1);
  let excess = lineLength - terminalColumns + 1;
  while (excess > 0 && widths.length > 1) {
    const [width = 0] = widths.splice(halfToEven(widths.length), 1);
    excess -= width + 1;
  }
  return Math.max(widths.length - 1, 2);
}

/** Half of a whole number, rounded to the even one as Python's `round` does. */
function halfToEven(value: number): number {
  const half = Math.floor(value / 2);
  return value % 2 === 1 && half % 2 === 1 ? half + 1 : half;
}

function joinColumns(columns: readonly (readonly string[])[]): string {
  const rowCount = columns[0]?.length ?? 0;
  return Array.from({ length: rowCount }, (_, row) => {
    return columns.map((cells) => cells[row] ?? "").map((cell, column) =>
      column === 0 ? cell.padEnd(1) : cell
    ).join(" ");
  }).join("\n");
}
