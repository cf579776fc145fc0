/**
 * Perplexities as text.
 *
 * @module
 */
import type { AttentionMode } from "../../lib/attention/plan.ts";
import { formatCsv } from "../../ruler/csv.ts";
import { meanScore } from "../../ruler/scores.ts";
import { alignedTable, markdownTable } from "../shared/text_table.ts";
import type { Format } from "../results/formats.ts";

/** What a mode found at one length. */
export interface LengthPerplexity {
  readonly mode: AttentionMode;
  /** Tokens of context and span. */
  readonly length: number;
  /** Of each span: the mean of -log p over its tokens, in nats. */
  readonly losses: readonly number[];
  /** Tokens that were scored, in all spans. */
  readonly tokens: number;
  /** Of all spans. */
  readonly seconds: number;
}

/** One length of one mode: the row of a tidy table. */
interface TidyRow {
  readonly mode: string;
  readonly length: number;
  readonly spans: number;
  readonly tokens: number;
  /** Mean of -log p, in nats. */
  readonly loss: number;
  /** Of the mean, by the bootstrap over spans; null of a single one. */
  readonly loss_stderr: number | null;
  readonly perplexity: number;
  /** What the loss's error comes to: perplexity times it. */
  readonly perplexity_stderr: number | null;
  /** Per span. */
  readonly seconds: number;
}

/** Digits of what is written to files. */
const DIGITS = 6;

/** The row of one result. */
export function tidyRow(result: LengthPerplexity): TidyRow {
  const { mode, length, losses, tokens, seconds } = result;
  const { mean, stderr } = meanScore(losses);
  const rounded = (value: number) => Number(value.toFixed(DIGITS));
  return {
    ...{ mode, length, spans: losses.length, tokens },
    loss: rounded(mean),
    loss_stderr: stderr === undefined ? null : rounded(stderr),
    perplexity: rounded(Math.exp(mean)),
    perplexity_stderr: stderr === undefined ? null : rounded(Math.exp(mean) * stderr),
    seconds: rounded(seconds / losses.length),
  };
}

/** `12.34 ± 0.56`. */
export function perplexityText(result: LengthPerplexity): string {
  const { perplexity, perplexity_stderr: error } = tidyRow(result);
  const text = perplexity.toFixed(2);
  return error === null ? text : `${text} ± ${error.toFixed(2)}`;
}

/** Results in one of the forms; ends in a newline. */
export function formatPerplexities(
  results: readonly LengthPerplexity[],
  format: Format,
): string {
  const rows = results.map(tidyRow);
  if (format === "json") return `${JSON.stringify(rows, null, 2)}\n`;
  if (format === "csv") return perplexityCsv(results);
  const modes = [...new Set(results.map(({ mode }) => mode))];
  const lengths = [...new Set(results.map(({ length }) => length))];
  const cell = (mode: AttentionMode, length: number): string => {
    const found = results.find((result) => result.mode === mode && result.length === length);
    return found === undefined ? "" : perplexityText(found);
  };
  const table = [
    ["tokens", ...modes],
    ...lengths.map((length) => [String(length), ...modes.map((mode) => cell(mode, length))]),
  ];
  return format === "md" ? markdownTable(table) : alignedTable(table);
}

/** A header and a line for each mode and length. */
export function perplexityCsv(results: readonly LengthPerplexity[]): string {
  const names = [
    ...["mode", "length", "spans", "tokens", "loss", "loss_stderr", "perplexity"],
    ...["perplexity_stderr", "seconds"],
  ];
  const rows = results.map(tidyRow).map((row) => new Map(Object.entries(row)));
  return formatCsv([names, ...rows.map((row) => names.map((name) => String(row.get(name) ?? "")))]);
}
