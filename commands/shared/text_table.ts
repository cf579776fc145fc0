/**
 * Small tables as text: the first row is the header, the first column is aligned to the left.
 *
 * @module
 */
import { codePointCount } from "../../ruler/python/text.ts";

/** Rows of cells, equally many in each. */
export type TextTable = readonly (readonly string[])[];

/** As Markdown, to be pasted. */
export function markdownTable(table: TextTable): string {
  const [header = [], ...rows] = table;
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  const rule = header.map((_, column) => column === 0 ? "---" : "---:");
  return [header, rule, ...rows].map(line).join("");
}

/** In columns, with a rule below the header. */
export function alignedTable(table: TextTable): string {
  const [header = []] = table;
  const widths = header.map((_, column) =>
    Math.max(...table.map((row) => codePointCount(row[column] ?? "")))
  );
  const lines = table.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd()
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "));
  return lines.map((line) => `${line}\n`).join("");
}
