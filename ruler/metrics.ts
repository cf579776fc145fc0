/**
 * RULER's scores (arXiv 2404.06654, section 3): how predictions are cleaned and matched against the
 * answers. Follows `ruler/eval/evaluate.py` and `ruler/eval/synthetic/constants.py` of
 * NVIDIA/Star-Attention.
 *
 * @module
 */
import { roundHalfEven } from "./python/float.ts";
import { strip } from "./python/text.ts";

/**
 * `all`: the part of the answers that were found. `part`: whether any answer was found. `exact`:
 * whether the text is one of the answers. `f1`: the best overlap of words with an answer, as in
 * SQuAD. The first two are RULER's.
 */
export type Metric = "all" | "part" | "exact" | "f1";

/** What the command line calls the metrics. */
export type MetricName = "contains_all" | "contains_any" | "exact" | "f1";

/** The metrics by these names. */
export const METRICS = {
  contains_all: "all",
  contains_any: "part",
  exact: "exact",
  f1: "f1",
} as const satisfies Record<MetricName, Metric>;

/**
 * A metric, or a task's own: what a sample scores, 0 to 1, by its prediction, its answers and its
 * prompt's query.
 */
export type TaskMetric =
  | Metric
  | ((sample: {
    readonly prediction: string;
    readonly answers: readonly string[];
    readonly query: string;
  }) => number);

/** A prediction, already cleaned, and the answers that it is matched against. */
export interface Prediction {
  readonly text: string;
  readonly answers: readonly string[];
  /** The prompt's query, for metrics of tasks of one's own. */
  readonly query?: string;
}

/**
 * A generated text as the metrics see it: white space at the ends gone, every control character a
 * newline (each one, so that a tab inside the text becomes a newline, too).
 *
 * @param text What the model generated.
 * @returns The cleaned text.
 */
export function cleanPrediction(text: string): string {
  // deno-lint-ignore no-control-regex
  return strip(strip(text).replace(/[\x00-\x1f]/g, "\n"));
}

/**
 * The score of a task over its samples: 0 to 100, rounded to two decimals.
 *
 * The letter case is ignored. Both languages lower it by Unicode's special casing (final sigma, the
 * dotted capital I).
 *
 * @param metric How the answers of one sample are counted.
 * @param predictions At least one; every one has at least one answer.
 * @returns The mean over the samples.
 * @throws {RangeError} If there are no predictions, or one has no answers: the original divides by
 * zero there.
 */
export function scorePredictions(metric: TaskMetric, predictions: readonly Prediction[]): number {
  if (predictions.length === 0) {
    throw new RangeError("Cannot score predictions as there must be at least one: found none");
  }
  let sum = 0;
  for (const [index, prediction] of predictions.entries()) {
    if (prediction.answers.length === 0) {
      throw new RangeError(
        `Cannot score predictions as each must have answers: number ${index} has none`,
      );
    }
    sum += sampleScore(metric, prediction);
  }
  return roundHalfEven(sum / predictions.length * 100, 2);
}

/** What one sample scores, 0 to 1. @param prediction With at least one answer. */
export function sampleScore(metric: TaskMetric, prediction: Prediction): number {
  if (typeof metric === "function") {
    const { text, answers, query = "" } = prediction;
    return metric({ prediction: text, answers, query });
  }
  const text = prediction.text.toLowerCase();
  const answers = prediction.answers.map((answer) => answer.toLowerCase());
  if (metric === "exact") return answers.some((answer) => strip(answer) === strip(text)) ? 1 : 0;
  if (metric === "f1") return Math.max(...answers.map((answer) => wordOverlap(text, answer)));
  const found = answers.filter((answer) => text.includes(answer)).length;
  return metric === "all" ? found / answers.length : Math.min(found, 1);
}

/** The harmonic mean of precision and recall over the words of two texts, as SQuAD counts them. */
function wordOverlap(text: string, answer: string): number {
  const [found, wanted] = [plainWords(text), plainWords(answer)];
  if (found.length === 0 || wanted.length === 0) return found.length === wanted.length ? 1 : 0;
  const left = [...wanted];
  let common = 0;
  for (const word of found) {
    const at = left.indexOf(word);
    if (at < 0) continue;
    left.splice(at, 1);
    common++;
  }
  return 2 * common / (found.length + wanted.length);
}

/** Words without punctuation and articles. */
function plainWords(text: string): string[] {
  return text.replace(/[!-/:-@[-`{-~]/g, "").split(/\s+/)
    .filter((word) => word !== "" && !["a", "an", "the"].includes(word));
}
