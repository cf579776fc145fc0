/**
 * All suites, found by their tasks.
 *
 * @module
 */
import { BABILONG } from "./babilong.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";
import { RULER, scoreByMetric } from "./ruler.ts";
import type { ScoredSample, Suite } from "./suite.ts";

const SUITES: readonly Suite[] = [RULER, BABILONG];

/** The tasks of all suites, in the order of their tables. */
export const ALL_TASKS: readonly string[] = SUITES.flatMap(({ tasks }) => tasks);

/** The suite that has a task. */
export function suiteOf(task: string): Suite | undefined {
  return SUITES.find(({ tasks }) => tasks.includes(task));
}

/**
 * What a sample scores, 0 to 100; undefined if no suite knows, or its data has no answers.
 *
 * @param own The metric of a task of one's own.
 */
export function scoreOfSample(
  task: string,
  sample: ScoredSample,
  own?: TaskMetric,
): number | undefined {
  const score = own === undefined
    ? suiteOf(task)?.scoreSample(task, sample)
    : scoreByMetric(own, sample);
  return score === undefined ? undefined : score * 100;
}
