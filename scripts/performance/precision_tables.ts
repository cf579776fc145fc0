/**
 * The tables of `docs/precision.md` that are made of `bench/amx-ruler.jsonl`: the scores of each sample of
 * RULER's tasks by weights, cache, mode, length and task.
 *
 * @module
 */
import { type BenchRecord, type BenchRecords, numbersAt, textAt, type Where } from "./records.ts";
import { type Table, whole } from "./table.ts";

/** Every table, made of the records. */
export const PRECISION_TABLES: Readonly<Record<string, (records: BenchRecords) => Table>> = {
  "precision-int8": int8Scores,
};

const FILE = "amx-ruler";
const BASE = { weights: "bf16", cache: "bf16" } as const;

/** A mean over tasks of the means over their samples, and its standard error. */
interface Mean {
  readonly mean: number;
  readonly error: number;
}

/** A mean over tasks, each of which has a sample of its own. */
function meanOfTasks(tasks: readonly (readonly number[])[]): Mean {
  let [sum, variance] = [0, 0];
  for (const scores of tasks) {
    const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
    const squares = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0);
    sum += mean;
    variance += squares / Math.max(1, scores.length - 1) / scores.length;
  }
  return { mean: sum / tasks.length, error: Math.sqrt(variance) / tasks.length };
}

/** The scores of each task. */
function scoresOf(records: BenchRecords, where: Where): Map<string, number[]> {
  const tasks = records.all(FILE, where).map((record: BenchRecord) =>
    [textAt(record, "task"), numbersAt(record, "scores")] as const
  );
  return new Map(tasks);
}

const shown = ({ mean, error }: Mean): string => `${mean.toFixed(1)} ± ${error.toFixed(1)}`;

const signed = ({ mean, error }: Mean): string =>
  `${mean < 0 ? "-" : "+"}${Math.abs(mean).toFixed(2)} ± ${error.toFixed(2)}`;

/** Differences of the samples that both have: the first ones of each task. */
function pairsOf(
  scores: ReadonlyMap<string, readonly number[]>,
  base: ReadonlyMap<string, readonly number[]>,
): number[][] {
  return [...scores].map(([task, own]) => {
    const others = base.get(task) ?? [];
    return own.slice(0, others.length).map((score, i) => score - (others[i] ?? NaN));
  });
}

/** int8 weights, and with a cache in int8, against bf16: the same samples, differences of pairs. */
function int8Scores(records: BenchRecords): Table {
  const row = (mode: string, length: number): string[] => {
    const base = scoresOf(records, { ...BASE, mode, length });
    const cells = ["bf16", "int8"].flatMap((cache) => {
      const own = scoresOf(records, { weights: "int8", cache, mode, length });
      const pairs = pairsOf(own, base);
      const count = pairs.reduce((sum, { length }) => sum + length, 0);
      return [shown(meanOfTasks([...own.values()])), signed(meanOfTasks(pairs)), whole(count)];
    });
    return [`${mode}, ${whole(length)}`, shown(meanOfTasks([...base.values()])), ...cells];
  };
  return {
    head: [
      "mode, tokens",
      ">bf16",
      ">int8",
      ">against bf16",
      ">samples",
      ">int8, cache int8",
      ">against bf16",
      ">samples",
    ],
    rows: [row("dense", 4096), row("star", 4096), row("dense", 8192), row("star", 8192)],
  };
}
