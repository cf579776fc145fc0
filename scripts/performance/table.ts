/**
 * Tables of Markdown, laid out as `deno fmt` lays them out.
 *
 * @module
 */

/** Rows of texts below a head. */
export interface Table {
  /** Heads of columns; those that begin with `>` are of numbers, which stand to the right. */
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The lines of a table. */
export function tableText({ head, rows }: Table): string {
  const isRight = head.map((text) => text.startsWith(">"));
  const names = head.map((text, i) => isRight[i] ? text.slice(1) : text);
  const widths = names.map((name, i) =>
    Math.max(3, name.length, ...rows.map((row) => (row[i] ?? "").length))
  );
  const line = (cells: readonly string[]): string =>
    `| ${
      widths.map((width, i) => {
        const cell = cells[i] ?? "";
        return isRight[i] ? cell.padStart(width) : cell.padEnd(width);
      }).join(" | ")
    } |`;
  const rule = widths.map((width, i) =>
    isRight[i] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)
  );
  return [line(names), `| ${rule.join(" | ")} |`, ...rows.map(line)].join("\n");
}

/** As a whole number with commas. */
export function whole(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 0 });
}

/** Seconds: two digits behind the point, three below 1. */
export function seconds(value: number): string {
  return value.toFixed(value < 1 ? 3 : 2);
}

/** Milliseconds: two digits behind the point below 10, else one. */
export function milliseconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1);
}

/** So many digits that tell something. */
export function digits(value: number, count: number): string {
  return value.toPrecision(count);
}

/** One figure against another. */
export function times(value: number): string {
  return `${value.toFixed(2)} x`;
}
