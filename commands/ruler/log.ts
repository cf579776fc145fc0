/**
 * What a RULER run keeps about each sample beside its record: `logs/<task>/samples.jsonl`.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { replaceFile } from "../../lib/files.ts";
import { readJsonLines, recoverJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { hasContent } from "../shared/samples.ts";

/** Sums over samples. */
export interface Statistics {
  readonly sampleCount: number;
  /** Of those samples whose time is known. */
  readonly seconds: number;
  /** Samples whose line was lost when a run was cut off: what it said is not known. */
  readonly unknownCount: number;
  /** The share of the whole context's causal tiles that was computed, summed over the samples. */
  readonly share: number;
  /** Tiles of the attention matrix that phase 1 selected, in modes with selection. */
  readonly selectedTiles: number;
  /** Those that it would have computed without selection. */
  readonly causalTiles: number;
}

/** Of no samples. */
export const EMPTY_STATISTICS: Statistics = {
  sampleCount: 0,
  seconds: 0,
  unknownCount: 0,
  share: 0,
  selectedTiles: 0,
  causalTiles: 0,
};

/** The sums of two sets of samples. */
export function addStatistics(a: Statistics, b: Statistics): Statistics {
  return {
    sampleCount: a.sampleCount + b.sampleCount,
    seconds: a.seconds + b.seconds,
    unknownCount: a.unknownCount + b.unknownCount,
    share: a.share + b.share,
    selectedTiles: a.selectedTiles + b.selectedTiles,
    causalTiles: a.causalTiles + b.causalTiles,
  };
}

/** The line that stands for one that was lost. */
const UNKNOWN_LINE = { seconds: null } as const;

/**
 * Gives a log as many lines as there are records: a run that is killed between the two leaves a
 * record without its line.
 *
 * @returns How many lines were missing.
 * @throws {FileError} If the log cannot be read or written.
 */
export async function mendLog(path: string, options: { recordCount: number }): Promise<number> {
  const { recordCount } = options;
  await recoverJsonLines(path);
  const lines = await hasContent(path) ? await Array.fromAsync(readJsonLines(path)) : [];
  const missing = recordCount - lines.length;
  if (missing === 0) return 0;
  const kept = lines.slice(0, recordCount).map(({ value }) => value);
  const all = [...kept, ...Array.from({ length: Math.max(0, missing) }, () => UNKNOWN_LINE)];
  await replaceFile(path, all.map((value) => `${JSON.stringify(value)}\n`));
  return Math.max(0, missing);
}

/**
 * Sums up the first lines of a log.
 *
 * @param options `limit`: how many samples count; by default all.
 * @throws {FileError} If it cannot be read.
 */
export async function readStatistics(
  path: string,
  options: { limit?: number } = {},
): Promise<Statistics> {
  const { limit = Infinity } = options;
  let sum = EMPTY_STATISTICS;
  let count = 0;
  for await (const { value, line } of readJsonLines(path)) {
    if (count++ >= limit) break;
    const entry = isJsonObject(value) ? value : {};
    if (entry.seconds === null) {
      sum = addStatistics(sum, { ...EMPTY_STATISTICS, unknownCount: 1 });
      continue;
    }
    const { seconds } = entry;
    // Runs made before these names were given called tiles blocks.
    const { selectedTiles = entry.blocksComputed, causalTiles = entry.blocksCausal } = entry;
    const isEntry = typeof seconds === "number" && typeof selectedTiles === "number" &&
      typeof causalTiles === "number";
    if (!isEntry) throw new FileError(`Cannot read ${path}: line ${line} is not about a sample`);
    const share = typeof entry.share === "number"
      ? entry.share
      : causalTiles === 0
      ? 1
      : selectedTiles / causalTiles;
    sum = addStatistics(sum, {
      ...{ sampleCount: 1, seconds, unknownCount: 0, share },
      ...{ selectedTiles, causalTiles },
    });
  }
  return sum;
}
