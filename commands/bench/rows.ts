/**
 * Measurements as rows that are printed as they come: Markdown, comma-separated values, JSON.
 *
 * @module
 */
import { describeDtype } from "../shared/weights.ts";
import { formatCsv } from "../../ruler/csv.ts";
import type { BenchFormat } from "./options.ts";
import { decodeRate, modelName, type ModeReport, prefillRates, restSeconds } from "./report.ts";
import { rounded } from "./report.ts";
import { type DecodeTiming, median, type PrefillTiming, spread } from "./timings.ts";

/** What a measurement's row may have; what does not apply is null. */
const COLUMNS = [
  ...["model", "device", "dtype", "threads", "ranks", "mode", "block_size", "anchor_block_size"],
  ...["prompt", "test", "tokens", "generated", "batch", "runs", "seconds", "spread"],
  ...["tokens_per_s", "first_token_s", "first_token_spread", "density", "tflops", "gb_per_s"],
  ...["matmul_s", "attention_s", "selection_s", "rest_s", "s_per_sample"],
] as const;

/** Those that a table for people has, and what they are called there. */
const SHOWN = [
  ["mode", "mode"],
  ["test", "test"],
  ["tokens", "tokens"],
  ["batch", "at once"],
  ["seconds", "s"],
  ["spread", "±"],
  ["tokens_per_s", "tokens/s"],
  ["first_token_s", "first token s"],
  ["density", "density"],
] as const;

/** A measurement. */
export type BenchRow = Readonly<Partial<Record<typeof COLUMNS[number], string | number | null>>>;

/** The form of a {@linkcode RowPrinter}. */
export type RowFormat = Exclude<BenchFormat, "table">;

/** Prints rows one by one; what is printed stays whatever comes later. */
export class RowPrinter {
  readonly #format: RowFormat;
  readonly #print: (text: string) => void;
  #count = 0;
  #isEnded = false;

  constructor(format: RowFormat, print: (text: string) => void) {
    this.#format = format;
    this.#print = print;
  }

  /** Prints a row, and in front of the first one what belongs there. */
  add(row: BenchRow): void {
    const isFirst = this.#count++ === 0;
    switch (this.#format) {
      case "jsonl":
        return this.#print(`${jsonOf(row)}\n`);
      case "json":
        return this.#print(`${isFirst ? "[" : ","}\n${jsonOf(row)}`);
      case "csv":
        if (isFirst) this.#print(formatCsv([COLUMNS]));
        return this.#print(formatCsv([COLUMNS.map((name) => String(row[name] ?? ""))]));
      case "md":
        if (isFirst) {
          this.#print(`${row.model ?? ""}, ${row.device ?? ""}, ${row.dtype ?? ""}\n\n`);
          this.#print(line(SHOWN.map(([, title]) => title)));
          this.#print(line(SHOWN.map((_, column) => column < 2 ? "---" : "---:")));
        }
        return this.#print(line(SHOWN.map(([name]) => String(row[name] ?? ""))));
    }
  }

  /** Ends what is begun; a second call does nothing. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#format === "json") this.#print(this.#count === 0 ? "[]\n" : "\n]\n");
  }
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |\n`;
}

/** All columns, so that every line has the same keys. */
function jsonOf(row: BenchRow): string {
  return JSON.stringify(Object.fromEntries(COLUMNS.map((name) => [name, row[name] ?? null])));
}

/** What all rows of a mode have in common. */
function modeRow(report: ModeReport): BenchRow {
  const { options, plan: { cut } } = report;
  const blocks = cut.kind === "blocks"
    ? { block_size: cut.blockTokens, anchor_block_size: cut.anchorTokens }
    : {};
  return {
    ...{ model: modelName(options), device: report.device, dtype: describeDtype(options) },
    ...{ threads: report.threads, ranks: report.processCount, mode: report.mode },
    ...blocks,
    prompt: report.promptName,
  };
}

/** A prefill's row. */
export function prefillRow(report: ModeReport, timing: PrefillTiming): BenchRow {
  const { tokensPerS, tflops } = prefillRates(timing);
  const { costs, density, seconds } = timing;
  return {
    ...modeRow(report),
    ...{ test: "prefill", tokens: timing.tokens, batch: 1, runs: seconds.length },
    seconds: rounded(median(seconds), 6),
    spread: rounded(spread(seconds), 6),
    tokens_per_s: rounded(tokensPerS, 1),
    density: rounded(density, 4),
    tflops: rounded(tflops, 3),
    matmul_s: rounded(costs.matmulS, 6),
    attention_s: rounded(costs.attentionS, 6),
    selection_s: rounded(costs.selectionS, 6),
    rest_s: rounded(restSeconds(timing), 6),
  };
}

/** A row of decoding: the seconds are those of a step. */
export function decodeRow(report: ModeReport, timing: DecodeTiming): BenchRow {
  return {
    ...modeRow(report),
    ...{ test: "decode", tokens: timing.context, batch: timing.batch, runs: timing.steps },
    seconds: rounded(timing.seconds, 6),
    spread: rounded(timing.spread, 6),
    tokens_per_s: rounded(timing.batch / timing.seconds, 2),
    gb_per_s: rounded(decodeRate(report, timing), 1),
    s_per_sample: rounded(timing.sampleSeconds, 6),
  };
}
