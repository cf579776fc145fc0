/**
 * What a bench is asked for, and where it writes.
 *
 * @module
 */
import type { DecodeKeep } from "../../lib/attention/decode_keep.ts";
import type { WeightOptions } from "../shared/weights.ts";
import type { AttentionMode } from "../../lib/attention/plan.ts";
import type { RestRule } from "../../lib/attention/rest.ts";
import type { Threshold } from "../../lib/attention/thresholds.ts";
import type { DeviceWish } from "../../lib/device/open.ts";
import { writing } from "../../lib/files.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { precisionFor } from "../../lib/engine/options.ts";
import { type ComputeDType, type Precision, PRECISIONS } from "../../lib/model/precision.ts";

/** How measurements are printed. */
export const BENCH_FORMATS = ["table", "md", "csv", "json", "jsonl"] as const;

/** One of {@linkcode BENCH_FORMATS}. */
export type BenchFormat = typeof BENCH_FORMATS[number];

/** What is prefilled. */
export const PROMPT_KINDS = ["text", "random"] as const;

/** Options of the `bench` command; the defaults are the command line's. */
export interface BenchOptions extends WeightOptions {
  readonly model:
    | { readonly kind: "folder"; readonly folder: string }
    | { readonly kind: "shape"; readonly name: string; readonly config: ModelShape };
  readonly device: DeviceWish;
  readonly dtype: ComputeDType;
  /** Threads of an op; 0 takes all cores. */
  readonly threads: number;
  /** GPUs of each process that the layers are spread over; by default the fewest that do. */
  readonly gpusPerRank?: number | undefined;
  /** Processes that share the context. */
  readonly processCount: number;
  /** How long a process may take to start and to meet the others. */
  readonly startTimeoutMs?: number | undefined;
  readonly modes: readonly AttentionMode[];
  /** Tokens to prefill. */
  readonly lengths: readonly number[];
  /** Context lengths at which decoding is timed. */
  readonly decodeContexts: readonly number[];
  readonly decodeTokens: number;
  /** Sequences that are decoded together. */
  readonly batchSize: number;
  readonly blockTokens: number;
  readonly anchorTokens: number;
  readonly stride: number;
  /** One for all heads, or a table of them. */
  readonly threshold: Threshold;
  readonly rest: RestRule;
  /** Which keys query and answer read. @default {1} */
  readonly decodeKeep?: number | DecodeKeep | undefined;
  /** Share of the causal tiles that modes with selection compute; undefined leaves the choice to the mass. */
  readonly density: number | undefined;
  /** Timed runs per length. */
  readonly repeats: number;
  /** Whether weights are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Whether to time ops one by one instead. */
  readonly kernels: boolean;
  /** What is prefilled. @default {string} `text` where there is a tokenizer, else `random` */
  readonly prompt?: typeof PROMPT_KINDS[number] | undefined;
  /** RULER's source data, whose essays are the text; undefined for the usual folder. */
  readonly sourceDir?: string | undefined;
  /** Prompts of one's own that are timed instead, the first ones or all (-1). */
  readonly input?: { readonly path: string; readonly limit: number } | undefined;
  /** @default {"table"} */
  readonly format?: BenchFormat | undefined;
  /** A line of details, then a line of times, for each mode; in place of a format. */
  readonly json: boolean;
  /** A file that gets lines of JSON, too. */
  readonly jsonPath: string | undefined;
}

/** Where a bench writes. */
export interface BenchOutput {
  /** Takes the text for stdout. */
  print(text: string): void;
  /** Takes a line about what runs now. */
  note(line: string): void;
}

/** Appends to a file, if there is one to append to. @throws {FileError} If it cannot be written. */
export async function appendLine(path: string | undefined, line: string): Promise<void> {
  if (path === undefined) return;
  await writing(path, () => Deno.writeTextFile(path, `${line}\n`, { append: true }));
}

/** What a model's numbers are rounded to. */
export function precisionOf(config: ModelShape, options: BenchOptions): Precision {
  return precisionFor(config, { precision: PRECISIONS[options.dtype], wish: options });
}
