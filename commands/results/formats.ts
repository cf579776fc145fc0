/**
 * The scores of experiments as text: a table for people, Markdown, comma-separated values, JSON.
 *
 * @module
 */
import { formatCsv } from "../../ruler/csv.ts";
import { codePointCount } from "../../ruler/python/text.ts";
import { formatMean, meanOverTasks, type MeanScore } from "../../ruler/scores.ts";
import { markdownTable, type TextTable } from "../shared/text_table.ts";
import type { Experiment, LengthResults, TaskResult } from "./experiment.ts";

/** The forms that scores can have. */
export const FORMATS = ["table", "md", "csv", "json"] as const;

/** One of them. */
export type Format = typeof FORMATS[number];

/** A task of an experiment at one length: the row of a tidy table. */
export interface TidyRow {
  readonly experiment: string;
  readonly mode: string;
  readonly length: number;
  readonly task: string;
  readonly n: number;
  /** 0 to 100; null without answers. */
  readonly score: number | null;
  readonly stderr: number | null;
  readonly density: number | null;
  /** Per sample. */
  readonly seconds: number | null;
}

/** All tasks of some experiments, one after the other. */
function tidyRows(experiments: readonly Experiment[]): TidyRow[] {
  return experiments.flatMap(({ name, lengths }) =>
    lengths.flatMap((length) =>
      length.tasks.map((result): TidyRow => ({
        experiment: name,
        mode: modeOf(length),
        length: length.maxTokens,
        task: result.task,
        n: result.mean?.count ?? result.samples.length,
        score: rounded(result.mean?.mean),
        stderr: rounded(result.mean?.stderr),
        density: rounded(result.density),
        seconds: rounded(result.seconds),
      }))
    )
  );
}

function modeOf({ record }: LengthResults): string {
  const mode = record?.options.attn_type;
  return typeof mode === "string" ? mode : "";
}

function rounded(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toFixed(4));
}

/** Scores in one of the forms; ends in a newline. */
export function formatExperiments(experiments: readonly Experiment[], format: Format): string {
  if (format === "json") return `${JSON.stringify(tidyRows(experiments), null, 2)}\n`;
  if (format === "csv") return tidyCsv(experiments);
  const table = scoreTable(experiments);
  return format === "md" ? markdownTable(table) : aligned(table);
}

/** A header and one line per task of an experiment at one length. */
export function tidyCsv(experiments: readonly Experiment[]): string {
  const header = [
    ...["experiment", "mode", "length", "task", "n", "score", "stderr", "density", "seconds"],
  ] as const;
  const cell = (value: string | number | null) => value === null ? "" : String(value);
  const rows = tidyRows(experiments).map((row) => [
    ...[row.experiment, row.mode, row.length, row.task, row.n].map(cell),
    ...[row.score, row.stderr, row.density, row.seconds].map(cell),
  ]);
  return formatCsv([header, ...rows]);
}

/** Tasks in rows, experiments and their lengths in columns, means below. */
function scoreTable(experiments: readonly Experiment[]): TextTable {
  const columns = experiments.flatMap((experiment) =>
    experiment.lengths.map((length) => ({ experiment, length }))
  );
  const tasks = [
    ...new Set(columns.flatMap(({ length }) => length.tasks.map(({ task }) => task))),
  ];
  const several = experiments.length > 1;
  const header = columns.map(({ experiment, length }) =>
    several ? `${experiment.name} ${length.maxTokens}` : String(length.maxTokens)
  );
  const full = Math.max(...columns.map(({ length }) => meansOf(length).length));
  const row = (name: string, cellOf: (length: LengthResults) => string): readonly string[] => [
    name,
    ...columns.map(({ length }) => cellOf(length)),
  ];
  return [
    ["task", ...header],
    ...tasks.map((task) => row(task, (length) => scoreCell(taskOf(length, task)))),
    row("mean", (length) => meanCell(length, full)),
    row("samples", sampleCell),
    row("tiles computed", (length) => numberCell(length.tasks.map(({ density }) => density))),
    row("s per sample", (length) => numberCell(length.tasks.map(({ seconds }) => seconds))),
  ];
}

function taskOf(length: LengthResults, task: string): TaskResult | undefined {
  return length.tasks.find((result) => result.task === task);
}

function scoreCell(result: TaskResult | undefined): string {
  if (result === undefined) return "";
  return result.mean === undefined ? "n/a" : formatMean(result.mean);
}

function meansOf(length: LengthResults): MeanScore[] {
  return length.tasks.flatMap(({ mean }) => mean ?? []);
}

/** A mean over fewer tasks than another column's is marked: the two do not compare. */
function meanCell(length: LengthResults, full: number): string {
  const means = meansOf(length);
  if (means.length === 0) return "n/a";
  return formatMean(meanOverTasks(means)) + (means.length < full ? "*" : "");
}

/** `20`, or `5 to 20` where tasks differ. */
function sampleCell(length: LengthResults): string {
  const counts = length.tasks.map(({ mean, samples }) => mean?.count ?? samples.length)
    .filter((count) => count > 0);
  if (counts.length === 0) return "";
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  return least === most ? String(least) : `${least} to ${most}`;
}

function numberCell(values: readonly (number | undefined)[]): string {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return "";
  return (known.reduce((sum, value) => sum + value, 0) / known.length).toFixed(2);
}

function aligned(table: TextTable): string {
  const [header = []] = table;
  const widths = header.map((_, column) =>
    Math.max(...table.map((row) => codePointCount(row[column] ?? "")))
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  const lines = table.map((row) =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd()
  );
  lines.splice(1, 0, rule);
  lines.splice(-4, 0, rule);
  const isPartial = table.some((row) => row.some((cell) => cell.endsWith("*")));
  const note = isPartial ? ["", "* mean of fewer tasks than in other columns"] : [];
  return `${[...lines, ...note].join("\n")}\n`;
}
