/**
 * RULER (arXiv 2404.06654) as NVIDIA/Star-Attention ships it: data, scores and tables.
 *
 * @module
 */
export {
  evaluateFolder,
  type EvaluateFolderOptions,
  type FolderScores,
  type TaskScore,
} from "./evaluate.ts";
export { gatherExperiment } from "./gather.ts";
export type { Metric, MetricName, TaskMetric } from "./metrics.ts";
export type {
  CommonWordsSettings,
  CountTokens,
  FrequentWordsSettings,
  Generators,
  NeedleType,
  NiahSettings,
  QaSettings,
  Question,
  QuestionSet,
  RulerSample,
  SplitSentences,
  TaskSettings,
  TaskSources,
  VariableTrackingSettings,
  WordLists,
} from "./model.ts";
export {
  formatSample2026,
  prepareSamples2026,
  type Sample2026,
} from "./generators_2026/prepare.ts";
export { cutQuestion, RULER_TASKS_2026 } from "./generators_2026/templates.ts";
export type { Prediction, SampleRequest, TaskDefinition, TaskSample } from "./own_task.ts";
export { formatSample, type PrepareOptions, prepareSamples } from "./prepare.ts";
export { loadSources, missingSources, type SourceOptions } from "./sources.ts";
export { RULER_TASKS, type RulerTask } from "./tasks.ts";
export { MODEL_TEMPLATES, type ModelTemplate } from "./templates.ts";
