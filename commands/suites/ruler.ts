/**
 * RULER as a suite.
 *
 * @module
 */
import { evaluateFolder } from "../../ruler/evaluate.ts";
import { cleanPrediction, sampleScore, TASK_METRICS } from "../../ruler/metrics.ts";
import type { Suite } from "./suite.ts";

/** The benchmark of the `ruler` command. */
export const RULER: Suite = {
  name: "ruler",
  tasks: Object.keys(TASK_METRICS),
  openMaker: async (options) => await (await import("../ruler/maker.ts")).openDataMaker(options),
  scoreSample: (task, { prediction, answers }) => {
    const metric = Object.hasOwn(TASK_METRICS, task) ? TASK_METRICS[task] : undefined;
    if (metric === undefined || answers.length === 0) return undefined;
    return sampleScore(metric, { text: cleanPrediction(prediction), answers });
  },
  metricName: (task) => TASK_METRICS[task] === "part" ? "contains_any" : "contains_all",
  summarize: async (folder, options) => (await evaluateFolder(folder, options)).scores,
};
