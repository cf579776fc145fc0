/**
 * RULER's scores (arXiv 2404.06654, section 3): how predictions are cleaned and matched against the
 * answers. Follows `ruler/eval/evaluate.py` and `ruler/eval/synthetic/constants.py` of
 * NVIDIA/Star-Attention.
 *
 * @module
 */
import { roundHalfEven } from "./python/float.ts";
import { strip } from "./python/text.ts";

/** `all`: the part of the answers that were found. `part`: whether any answer was found. */
export type Metric = "all" | "part";

/** The metric of each task, in the order of the original's `synthetic_task_config.yaml`. */
export const TASK_METRICS: Readonly<Record<string, Metric>> = {
  niah_single_1: "all",
  niah_single_2: "all",
  niah_single_3: "all",
  niah_multikey_1: "all",
  niah_multikey_2: "all",
  niah_multikey_3: "all",
  niah_multivalue: "all",
  niah_multiquery: "all",
  vt: "all",
  cwe: "all",
  fwe: "all",
  qa_1: "part",
  qa_2: "part",
};

/** A prediction, already cleaned, and the answers that it is matched against. */
export interface Prediction {
  readonly text: string;
  readonly answers: readonly string[];
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
export function scorePredictions(metric: Metric, predictions: readonly Prediction[]): number {
  if (predictions.length === 0) {
    throw new RangeError("Cannot score predictions as there must be at least one: found none");
  }
  let sum = 0;
  for (const [index, { text, answers }] of predictions.entries()) {
    if (answers.length === 0) {
      throw new RangeError(
        `Cannot score predictions as each must have answers: number ${index} has none`,
      );
    }
    const lowered = text.toLowerCase();
    const found = answers.filter((answer) => lowered.includes(answer.toLowerCase())).length;
    sum += metric === "all" ? found / answers.length : Math.min(found, 1);
  }
  return roundHalfEven(sum / predictions.length * 100, 2);
}
