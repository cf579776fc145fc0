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

/**
 * A small table as pandas prints it: columns numbered from 0 and aligned to the right, rows with
 * their number in front. Unlike pandas, columns are never left out to suit a narrow terminal.
 *
 * @param rows Equally many cells in each row.
 */
export function formatFrame(rows: readonly (readonly string[])[]): string {
  const columnCount = Math.max(0, ...rows.map((row) => row.length));
  const header = Array.from({ length: columnCount }, (_, column) => String(column));
  const table = [["", ...header], ...rows.map((row, index) => [String(index), ...row])];
  const widths = Array.from(
    { length: columnCount + 1 },
    (_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)),
  );
  return table
    .map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "))
    .join("\n");
}
