/**
 * BABILong (arXiv 2406.10149) as NVIDIA/Star-Attention runs it: prompts, metric and tables.
 *
 * @module
 */
export { readRows, taskFiles, taskFolder } from "./data.ts";
export { formatLine, formatPrompt, PROMPTS } from "./format.ts";
export { type BabilongScores, gatherBabilong, heatMap, scoreFile } from "./gather.ts";
export { isRight, questionOf } from "./metric.ts";
export type { BabilongPrompt, BabilongRow, BabilongSample } from "./model.ts";
export {
  BABILONG_TASKS,
  datasetOf,
  SPLITS,
  TASK_LABELS,
  TOKENS_TO_GENERATE,
  USUAL_SPLITS,
  USUAL_TASKS,
} from "./tasks.ts";
