/**
 * RULER as a suite.
 *
 * @module
 */
import { evaluateFolder } from "../../ruler/evaluate.ts";
import { cleanPrediction, sampleScore, type TaskMetric } from "../../ruler/metrics.ts";
import { TASK_METRICS } from "../../ruler/tasks.ts";
import type { ScoredSample, Suite } from "./suite.ts";

/** What a sample scores by one of RULER's metrics, 0 to 1; undefined without answers. */
export function scoreByMetric(
  metric: TaskMetric,
  sample: ScoredSample,
): number | undefined {
  const { prediction, answers, query } = sample;
  if (answers.length === 0) return undefined;
  return sampleScore(metric, { text: cleanPrediction(prediction), answers, query });
}

/** The benchmark of the `ruler` command. */
export const RULER: Suite = {
  name: "ruler",
  title: "RULER",
  paper: "arXiv 2404.06654",
  tasks: Object.keys(TASK_METRICS),
  openMaker: async (options) => await (await import("../ruler/maker.ts")).openDataMaker(options),
  scoreSample: (task, sample) => {
    const metric = Object.hasOwn(TASK_METRICS, task) ? TASK_METRICS[task] : undefined;
    return metric === undefined ? undefined : scoreByMetric(metric, sample);
  },
  metricName: (task) => TASK_METRICS[task] === "part" ? "contains_any" : "contains_all",
  summarize: async (folder, options) => (await evaluateFolder(folder, options)).scores,
};
