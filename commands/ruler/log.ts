/**
 * What a RULER run keeps about each sample beside its record: `logs/<task>/samples.jsonl`.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { readJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";

/** Sums over samples. */
export interface Statistics {
  readonly sampleCount: number;
  readonly seconds: number;
  /** Blocks of the attention matrix that phase 1 computed, in modes with selection. */
  readonly blocksComputed: number;
  /** Those that it would have computed without selection. */
  readonly blocksCausal: number;
}

/** Of no samples. */
export const EMPTY_STATISTICS: Statistics = {
  sampleCount: 0,
  seconds: 0,
  blocksComputed: 0,
  blocksCausal: 0,
};

/** The sums of two sets of samples. */
export function addStatistics(a: Statistics, b: Statistics): Statistics {
  return {
    sampleCount: a.sampleCount + b.sampleCount,
    seconds: a.seconds + b.seconds,
    blocksComputed: a.blocksComputed + b.blocksComputed,
    blocksCausal: a.blocksCausal + b.blocksCausal,
  };
}

/**
 * Sums up a log.
 *
 * @throws {FileError} If it cannot be read.
 */
export async function readStatistics(path: string): Promise<Statistics> {
  let sum = EMPTY_STATISTICS;
  for await (const { value, line } of readJsonLines(path)) {
    const entry = isJsonObject(value) ? value : {};
    const { seconds, blocksComputed, blocksCausal } = entry;
    const isEntry = typeof seconds === "number" && typeof blocksComputed === "number" &&
      typeof blocksCausal === "number";
    if (!isEntry) throw new FileError(`Cannot read ${path}: line ${line} is not about a sample`);
    sum = addStatistics(sum, { sampleCount: 1, seconds, blocksComputed, blocksCausal });
  }
  return sum;
}
