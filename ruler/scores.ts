/**
 * Scores with their uncertainty: what each sample of a task scored, the mean, and its standard error.
 *
 * @module
 */
import { uniformNumbers } from "../lib/random.ts";
import { invariant } from "../lib/errors.ts";

/** A mean over samples. */
export interface MeanScore {
  /** 0 to 100. */
  readonly mean: number;
  /** The standard error of the mean; undefined below two samples. */
  readonly stderr: number | undefined;
  readonly count: number;
}

/** Drawings of the bootstrap; more change the error by less than its second digit. */
const ROUNDS = 1000;
const SEED = 1234;

/**
 * The mean of some scores and its standard error, by the bootstrap: the deviation of the means of
 * samples that are drawn with replacement, from a fixed seed.
 *
 * @param values What each sample scored; at least one.
 */
export function meanScore(values: readonly number[]): MeanScore {
  invariant(values.length > 0, "a mean needs a value");
  const mean = meanOf(values);
  if (values.length < 2) return { mean, stderr: undefined, count: values.length };
  return { mean, stderr: bootstrapError(values), count: values.length };
}

function bootstrapError(values: readonly number[]): number {
  const random = uniformNumbers(SEED);
  const { length } = values;
  const means = Array.from({ length: ROUNDS }, () => {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += values[Math.floor(random() * length)] ?? 0;
    return sum / length;
  });
  const center = meanOf(means);
  const squares = means.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return Math.sqrt(squares / (ROUNDS - 1));
}

/**
 * The mean over tasks, each of them counting the same, and its standard error, the tasks' samples
 * being independent of each other.
 *
 * @param tasks At least one.
 */
export function meanOverTasks(tasks: readonly MeanScore[]): MeanScore {
  invariant(tasks.length > 0, "a mean needs a task");
  const errors = tasks.map(({ stderr }) => stderr);
  const known = errors.every((error) => error !== undefined);
  const squares = errors.reduce<number>((sum, error) => sum + (error ?? 0) ** 2, 0);
  return {
    mean: meanOf(tasks.map(({ mean }) => mean)),
    stderr: known ? Math.sqrt(squares) / tasks.length : undefined,
    count: tasks.reduce((sum, { count }) => sum + count, 0),
  };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** `95.0 ± 2.2`, or `95.0` where there is no error. */
export function formatMean({ mean, stderr }: Pick<MeanScore, "mean" | "stderr">): string {
  return stderr === undefined ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${stderr.toFixed(1)}`;
}
