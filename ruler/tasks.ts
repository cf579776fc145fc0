/**
 * RULER's 13 tasks as data (NVIDIA/Star-Attention, `ruler/synthetic_task_config.yaml` and
 * `synthetic_inference_config.yaml`).
 *
 * @module
 */
import type { Metric } from "./metrics.ts";
import type { NeedleType, NiahSettings, TaskSettings } from "./model.ts";

/** A task. */
export interface RulerTask {
  /** What its generator is set to. */
  readonly settings: TaskSettings;
  /** Tokens that a model generates; for fwe more than its data leaves room for. */
  readonly tokensToGenerate: number;
  /** How predictions are matched against the answers. */
  readonly metric: Metric;
}

function niah(
  haystack: NiahSettings["haystack"],
  types: readonly [NeedleType, NeedleType],
  counts: { keys?: number; values?: number; queries?: number } = {},
): RulerTask {
  const [keyType, valueType] = types;
  const { keys = 1, values = 1, queries = 1 } = counts;
  const settings: NiahSettings = {
    generator: "niah",
    haystack,
    keyType,
    valueType,
    keys,
    values,
    queries,
  };
  return { settings, tokensToGenerate: 128, metric: "all" };
}

/** The tasks by their names, in RULER's order. */
export const RULER_TASKS: Readonly<Record<string, RulerTask>> = {
  niah_single_1: niah("repeat", ["words", "numbers"]),
  niah_single_2: niah("essay", ["words", "numbers"]),
  niah_single_3: niah("essay", ["words", "uuids"]),
  niah_multikey_1: niah("essay", ["words", "numbers"], { keys: 4 }),
  niah_multikey_2: niah("needle", ["words", "numbers"]),
  niah_multikey_3: niah("needle", ["uuids", "uuids"]),
  niah_multivalue: niah("essay", ["words", "numbers"], { values: 4 }),
  niah_multiquery: niah("essay", ["words", "numbers"], { queries: 4 }),
  vt: {
    settings: { generator: "variable_tracking", chains: 1, hops: 4 },
    tokensToGenerate: 30,
    metric: "all",
  },
  cwe: {
    settings: {
      generator: "common_words_extraction",
      commonFrequency: 300,
      otherFrequency: 30,
      commonCount: 10,
    },
    tokensToGenerate: 120,
    metric: "all",
  },
  fwe: {
    settings: { generator: "freq_words_extraction", alpha: 2 },
    tokensToGenerate: 120,
    metric: "all",
  },
  qa_1: { settings: { generator: "qa", dataset: "squad" }, tokensToGenerate: 32, metric: "part" },
  qa_2: {
    settings: { generator: "qa", dataset: "hotpotqa" },
    tokensToGenerate: 32,
    metric: "part",
  },
};

/** The metric of each task, in the order of the original's `synthetic_task_config.yaml`. */
export const TASK_METRICS: Readonly<Record<string, Metric>> = Object.fromEntries(
  Object.entries(RULER_TASKS).map(([task, { metric }]) => [task, metric]),
);
