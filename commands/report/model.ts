/**
 * What a report shows, as plain rows: computed from experiments, drawn elsewhere.
 *
 * @module
 */
import { isJsonObject } from "../../lib/text_file.ts";
import { meanOverTasks, type MeanScore, meanScore } from "../../ruler/scores.ts";
import {
  type Experiment,
  type LengthResults,
  meanOf,
  type SampleResult,
  type TaskResult,
} from "../results/experiment.ts";

/** A score at a length. */
export interface ScoreRow {
  readonly experiment: string;
  readonly length: number;
  /** `mean` over the tasks, or one of them. */
  readonly task: string;
  readonly score: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
  readonly density: number | undefined;
}

/** The name of the mean in {@linkcode ScoreRow}. */
export const MEAN = "mean";

/** All scores, those of the mean first. */
export function scoreRows(experiments: readonly Experiment[]): ScoreRow[] {
  const rows = experiments.flatMap(({ name, lengths }) =>
    lengths.flatMap((length) => [
      ...rowOf(MEAN, { name, length, mean: meanOfTasks(length), density: densityOf(length) }),
      ...length.tasks.flatMap(({ task, mean, density }) =>
        rowOf(task, { name, length, mean, density })
      ),
    ])
  );
  return rows.sort((a, b) => Number(b.task === MEAN) - Number(a.task === MEAN));
}

function rowOf(
  task: string,
  from: {
    name: string;
    length: LengthResults;
    mean: MeanScore | undefined;
    density: number | undefined;
  },
): ScoreRow[] {
  const { name: experiment, length: { maxTokens: length }, mean, density } = from;
  if (mean === undefined) return [];
  const { mean: score, stderr = 0, count: n } = mean;
  const low = Math.max(0, score - stderr);
  return [{
    ...{ experiment, length, task, score, n, density },
    ...{ low, high: Math.min(100, score + stderr) },
  }];
}

/** The mean over the tasks that have a score. */
export function meanOfTasks({ tasks }: LengthResults): MeanScore | undefined {
  const means = tasks.flatMap(({ mean }) => mean ?? []);
  return means.length === 0 ? undefined : meanOverTasks(means);
}

/** The share of the whole context's causal tiles that was computed. */
export function densityOf({ tasks }: LengthResults): number | undefined {
  return meanOf(tasks.flatMap(({ density }) => density ?? []));
}

/** How much a run differs from another on the samples that both have. */
export interface DeltaRow {
  readonly length: number;
  readonly task: string;
  readonly n: number;
  /** `other` less `base`. */
  readonly delta: number;
  /** Of the mean of the samples' differences; undefined below two samples. */
  readonly stderr: number | undefined;
}

/** The differences of two experiments, task by task and of their mean. */
export function deltaRows(base: Experiment, other: Experiment): DeltaRow[] {
  return other.lengths.flatMap((length) => {
    const before = base.lengths.find(({ maxTokens }) => maxTokens === length.maxTokens);
    const rows = length.tasks.flatMap((task) => {
      const earlier = before?.tasks.find((result) => result.task === task.task);
      return earlier === undefined ? [] : taskDelta(earlier, task);
    });
    if (rows.length < 2) return rows;
    const mean = meanOverTasks(
      rows.map(({ delta, stderr, n }) => ({ mean: delta, stderr, count: n })),
    );
    const { mean: delta, stderr, count: n } = mean;
    return [...rows, { length: length.maxTokens, task: MEAN, n, delta, stderr }];
  });
}

/** Samples are paired by their index: what makes one hard for both drops out of the error. */
function taskDelta(base: TaskResult, other: TaskResult): DeltaRow[] {
  const before = new Map(
    base.samples.map(({ index, query, score }) => [`${index} ${query}`, score]),
  );
  const differences = other.samples.flatMap(({ index, query, score }) => {
    const earlier = before.get(`${index} ${query}`);
    return earlier === undefined || score === undefined ? [] : [score - earlier];
  });
  if (differences.length === 0) return [];
  const { mean: delta, stderr, count: n } = meanScore(differences);
  return [{ length: other.maxTokens, task: other.task, n, delta, stderr }];
}

/** Scores of needles by where they lie. */
export interface DepthRow {
  readonly experiment: string;
  readonly length: number;
  /** The lower edge of a tenth of the context, in percent. */
  readonly depth: number;
  readonly score: number;
  readonly n: number;
}

const BIN_PERCENT = 10;

/** Means over tenths of the context, of all samples with needles; one with several counts in each. */
export function depthRows(experiments: readonly Experiment[]): DepthRow[] {
  return experiments.flatMap(({ name: experiment, lengths }) =>
    lengths.flatMap(({ maxTokens: length, tasks }) => {
      const bins = new Map<number, number[]>();
      for (const sample of tasks.flatMap(({ samples }) => samples)) {
        const { depths } = sample.log;
        if (sample.score === undefined || !Array.isArray(depths)) continue;
        const own = depths.filter((depth): depth is number => typeof depth === "number");
        const places = own.map((depth) =>
          Math.min(90, Math.floor(depth / BIN_PERCENT) * BIN_PERCENT)
        );
        for (const depth of new Set(places)) {
          bins.set(depth, [...bins.get(depth) ?? [], sample.score]);
        }
      }
      return [...bins].map(([depth, scores]): DepthRow => ({
        ...{ experiment, length, depth, n: scores.length },
        score: meanOf(scores) ?? 0,
      }));
    })
  );
}

/** The share of the causal tiles that a head took. */
export interface HeadRow {
  readonly experiment: string;
  readonly layer: number;
  readonly head: number;
  readonly share: number;
}

/** Means over all samples of the longest length that selects. */
export function headRows(experiments: readonly Experiment[]): HeadRow[] {
  return experiments.flatMap(({ name: experiment, lengths }) => {
    const shares = lengths.map(({ tasks }) =>
      tasks.flatMap(({ samples }) => samples).flatMap(headsOf)
    )
      .findLast((all) => all.length > 0) ?? [];
    const [first = []] = shares;
    return first.flatMap((heads, layer) =>
      heads.map((_, head): HeadRow => ({
        ...{ experiment, layer, head },
        share: meanOf(shares.map((layers) => layers[layer]?.[head] ?? 0)) ?? 0,
      }))
    );
  });
}

function headsOf({ log }: SampleResult): number[][][] {
  const { headShares } = log;
  const isTable = Array.isArray(headShares) &&
    headShares.every((layer) =>
      Array.isArray(layer) && layer.every((share) => typeof share === "number")
    );
  return isTable ? [headShares] : [];
}

/** Where the time of a sample went, as a mean. */
export interface TimeRow {
  readonly experiment: string;
  readonly length: number;
  readonly phase1: number;
  readonly phase2: number;
  /** Tokenizing, and waiting for the slowest rank. */
  readonly rest: number;
  readonly contextTokensPerS: number;
  readonly generatedTokensPerS: number;
  /** Of the rank that had most, in MiB. */
  readonly residentMib: number | undefined;
}

/** Means over the samples whose log is there. */
export function timeRows(experiments: readonly Experiment[]): TimeRow[] {
  return experiments.flatMap(({ name: experiment, lengths }) =>
    lengths.flatMap(({ maxTokens: length, tasks }) => {
      const times = tasks.flatMap(({ samples }) => samples).flatMap(({ log }) => timesOf(log));
      if (times.length === 0) return [];
      const mean = (of: (time: SampleTimes) => number) => meanOf(times.map(of)) ?? 0;
      const seconds = mean((time) => time.seconds);
      const [phase1, phase2] = sharedPhases(seconds, [
        mean((time) => time.phase1),
        mean((time) => time.phase2),
      ]);
      const memory = times.flatMap(({ residentMib }) => residentMib ?? []);
      return [{
        ...{ experiment, length, phase1, phase2 },
        rest: Math.max(0, seconds - phase1 - phase2),
        contextTokensPerS: mean(({ contextTokens }) => contextTokens) / phase1,
        generatedTokensPerS: mean(({ generatedTokens }) => generatedTokens) / phase2,
        residentMib: memory.length === 0 ? undefined : Math.max(...memory),
      }];
    })
  );
}

/**
 * What the phases take of a sample's own time. Of samples that run at once each has its share of the
 * time that passes, whereas its phases are measured from beginning to end: while one is encoded the
 * others wait, so that it is their phase 2 which is longer than their own.
 */
function sharedPhases(
  seconds: number,
  [phase1, phase2]: readonly [number, number],
): readonly [number, number] {
  const whole = phase1 + phase2;
  if (whole <= seconds) return [phase1, phase2];
  if (phase1 < seconds) return [phase1, seconds - phase1];
  // Copies of the model encode at once.
  return [phase1 * seconds / whole, phase2 * seconds / whole];
}

interface SampleTimes {
  readonly seconds: number;
  readonly phase1: number;
  readonly phase2: number;
  readonly contextTokens: number;
  readonly generatedTokens: number;
  readonly residentMib: number | undefined;
}

function timesOf(log: Readonly<Record<string, unknown>>): SampleTimes[] {
  const { seconds, contextTokens, generatedTokens, ranks } = log;
  if (!Array.isArray(ranks) || ranks.length === 0 || typeof seconds !== "number") return [];
  const slowest = (name: string) => Math.max(...ranks.map((rank) => numberIn(rank, name)));
  return [{
    seconds,
    phase1: slowest("prefillSeconds"),
    phase2: slowest("decodeSeconds"),
    contextTokens: typeof contextTokens === "number" ? contextTokens : 0,
    generatedTokens: typeof generatedTokens === "number" ? generatedTokens : 0,
    residentMib: slowest("residentMib") || undefined,
  }];
}

function numberIn(rank: unknown, name: string): number {
  const value = isJsonObject(rank) ? rank[name] : undefined;
  return typeof value === "number" ? value : 0;
}

/** Samples that did not score in full, and how many there are. */
export interface Misses {
  readonly experiment: string;
  readonly length: number;
  readonly task: string;
  readonly count: number;
  readonly of: number;
  /** The first ones, the worst first. */
  readonly samples: readonly SampleResult[];
}

/** So many of a task are shown. */
const MISSES_SHOWN = 8;

/** What went wrong, by experiment, length and task. */
export function missesOf(experiments: readonly Experiment[]): Misses[] {
  return experiments.flatMap(({ name: experiment, lengths }) =>
    lengths.flatMap(({ maxTokens: length, tasks }) =>
      tasks.flatMap(({ task, samples }) => {
        const missed = samples.filter(({ score }) => score !== undefined && score < 100);
        if (missed.length === 0) return [];
        const worst = missed.toSorted((a, b) => (a.score ?? 0) - (b.score ?? 0));
        return [{
          ...{ experiment, length, task, count: missed.length, of: samples.length },
          samples: worst.slice(0, MISSES_SHOWN),
        }];
      })
    )
  );
}
