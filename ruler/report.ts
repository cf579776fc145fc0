/**
 * One table over all lengths that a person can read: tasks and their mean in rows, lengths in
 * columns (as the results of RULER's paper, arXiv 2404.06654, table 3).
 *
 * @module
 */
import { formatMean } from "./scores.ts";
import { codePointCount } from "./python/text.ts";

/** A task's score at one length. */
export interface ReportScore {
  readonly task: string;
  /** 0 to 100; undefined is shown as `n/a`. */
  readonly score: number | undefined;
  /** The standard error of the score; with it a cell is `95.0 ± 2.2`. */
  readonly stderr?: number;
  /** Why there is no score; shown below the table. */
  readonly reason?: string;
}

/** One column of the report. */
export interface ReportColumn {
  /** The length, in tokens. */
  readonly maxTokens: number;
  readonly scores: readonly ReportScore[];
}

/** Options of {@linkcode formatReport}. */
export interface FormatReportOptions {
  /**
   * Lines below the table, for example `words: builtin`.
   *
   * @default {[]}
   */
  readonly notes?: readonly string[];
  /**
   * Rows below the mean: a name, then a cell for each column.
   *
   * @default {[]}
   */
  readonly rows?: readonly (readonly string[])[];
}

const MEAN = "mean";
const NOT_AVAILABLE = "n/a";

/**
 * Formats the scores of several lengths.
 *
 * Tasks stand in the order in which they first appear. An empty cell means that the task did not
 * run at that length. The mean is over the scores of its column; a column that lacks scores which
 * another one has is marked with `*`, as its mean cannot be compared.
 *
 * @param columns The lengths in the order of the columns.
 * @param options What stands below.
 * @returns Lines, each ending in a newline; empty without columns.
 */
export function formatReport(
  columns: readonly ReportColumn[],
  options: FormatReportOptions = {},
): string {
  const tasks = [...new Set(columns.flatMap(({ scores }) => scores.map(({ task }) => task)))];
  if (tasks.length === 0) return "";
  const cells = columns.map((column) => columnCells(column, tasks));
  const fullCount = Math.max(...columns.map(scoreCount));
  const means = columns.map((column) => meanCell(column, fullCount));
  const header = ["task", ...columns.map(({ maxTokens }) => String(maxTokens))];
  const rows = tasks.map((task, row) => [task, ...cells.map((column) => column[row] ?? "")]);
  const { rows: extra = [] } = options;
  const table = [header, ...rows, [MEAN, ...means], ...extra];
  const widths = header.map((_, column) =>
    Math.max(...table.map((row) => codePointCount(row[column] ?? "")))
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const lines = table.map((row) => formatRow(row, widths));
  lines.splice(1, 0, rule);
  lines.splice(-1 - extra.length, 0, rule);
  const below = [...reasonLines(columns), ...partialLines(means), ...options.notes ?? []];
  if (below.length > 0) lines.push("", ...below);
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function columnCells(column: ReportColumn, tasks: readonly string[]): string[] {
  const byTask = new Map(column.scores.map((entry) => [entry.task, entry]));
  return tasks.map((task) => {
    const entry = byTask.get(task);
    return entry === undefined ? "" : scoreCell(entry);
  });
}

function scoreCell({ score, stderr }: ReportScore): string {
  if (score === undefined) return NOT_AVAILABLE;
  return stderr === undefined ? score.toFixed(2) : formatMean({ mean: score, stderr });
}

function numbersOf({ scores }: ReportColumn): number[] {
  return scores.flatMap(({ score }) => score === undefined ? [] : [score]);
}

function scoreCount(column: ReportColumn): number {
  return numbersOf(column).length;
}

function meanCell(column: ReportColumn, fullCount: number): string {
  const numbers = numbersOf(column);
  if (numbers.length === 0) return NOT_AVAILABLE;
  const mean = numbers.reduce((sum, score) => sum + score, 0) / numbers.length;
  const errors = column.scores.flatMap(({ score, stderr }) =>
    score === undefined || stderr === undefined ? [] : [stderr]
  );
  // The samples of different tasks are independent of each other.
  const squares = errors.reduce((sum, error) => sum + error ** 2, 0);
  const stderr = errors.length === numbers.length
    ? { stderr: Math.sqrt(squares) / numbers.length }
    : {};
  const cell = scoreCell({ task: MEAN, score: mean, ...stderr });
  return cell + (numbers.length < fullCount ? "*" : "");
}

function formatRow(row: readonly string[], widths: readonly number[]): string {
  return row.map((cell, column) => {
    const width = widths[column] ?? 0;
    return column === 0 ? cell.padEnd(width) : cell.padStart(width);
  }).join("  ");
}

function reasonLines(columns: readonly ReportColumn[]): string[] {
  return columns.flatMap(({ maxTokens, scores }) =>
    scores.flatMap(({ task, reason }) =>
      reason === undefined ? [] : [`${task} at ${maxTokens}: ${NOT_AVAILABLE}, ${reason}`]
    )
  );
}

function partialLines(means: readonly string[]): string[] {
  const isPartial = means.some((mean) => mean.endsWith("*"));
  return isPartial ? ["* mean of fewer tasks than in other columns"] : [];
}
