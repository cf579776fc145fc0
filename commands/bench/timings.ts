/**
 * What a bench measures, and the statistics of it.
 *
 * @module
 */
import type { CostSplit } from "./split.ts";

/** The runs of one length. */
export interface PrefillTiming {
  readonly tokens: number;
  /** One number per run; that of the slowest process. */
  readonly seconds: readonly number[];
  /** Of the last run, on the process whose ops took longest. */
  readonly costs: CostSplit;
  /** Share of the causal tiles that was computed; 1 in dense modes. */
  readonly density: number;
}

/** Decoding after a context. */
export interface DecodeTiming {
  readonly context: number;
  /** Sequences that were decoded together. */
  readonly batch: number;
  /** Of a step, which gives each sequence a token: the median. */
  readonly seconds: number;
  /** Of the steps: as `spread()`. */
  readonly spread: number;
  /** How many steps were timed. */
  readonly steps: number;
  /** Of a sequence from its empty context to its last token: the batch's time shared out. */
  readonly sampleSeconds: number;
}

/** The middle value; the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const [low = NaN, high = NaN] = [sorted[half - 1], sorted[half]];
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** The standard deviation of a sample, by n - 1; NaN of fewer than two values. */
export function spread(values: readonly number[]): number {
  if (values.length < 2) return NaN;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}
