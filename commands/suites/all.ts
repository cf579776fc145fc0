/**
 * All suites, found by their tasks.
 *
 * @module
 */
import { BABILONG } from "./babilong.ts";
import { RULER } from "./ruler.ts";
import type { ScoredSample, Suite } from "./suite.ts";

const SUITES: readonly Suite[] = [RULER, BABILONG];

/** The tasks of all suites, in the order of their tables. */
export const ALL_TASKS: readonly string[] = SUITES.flatMap(({ tasks }) => tasks);

/** The suite that has a task. */
export function suiteOf(task: string): Suite | undefined {
  return SUITES.find(({ tasks }) => tasks.includes(task));
}

/** What a sample scores, 0 to 100; undefined if no suite knows, or its data has no answers. */
export function scoreOfSample(task: string, sample: ScoredSample): number | undefined {
  const score = suiteOf(task)?.scoreSample(task, sample);
  return score === undefined ? undefined : score * 100;
}
