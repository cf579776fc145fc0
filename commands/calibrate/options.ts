/**
 * What `calibrate` is asked for.
 *
 * @module
 */
import type { ModelLoadOptions } from "../shared/load_options.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { TileRule } from "../../lib/attention/thresholds.ts";
import type { Goal } from "./thresholds.ts";

/**
 * What tiles are given by: the attention that they hold, wherever it is; or weighed by what answers lose
 * without the attention of a layer.
 */
export const CALIBRATION_BY = ["attention", "answers"] as const;
/** One of them. */
export type CalibrationBy = typeof CALIBRATION_BY[number];

/** Options of `runCalibrate()`; the defaults are the command line's. */
export interface CalibrateOptions extends ModelLoadOptions {
  /** Takes the thresholds. */
  readonly outputPath: string;
  /** Prompts of one's own; undefined for RULER's. */
  readonly inputPath: string | undefined;
  readonly template: string;
  readonly tasks: readonly string[];
  readonly lengths: readonly number[];
  /** Samples per task and length, or of the input; -1 for all of the latter. */
  readonly sampleCount: number;
  readonly sourceDir: string | undefined;
  /** What is found: thresholds of a row, or shares of a tile. */
  readonly rule: TileRule;
  /**
   * A mode that selects; the threshold, one for all heads and of the same rule, is what the new ones
   * are compared with.
   */
  readonly plan: PlanOptions;
  readonly goal: Goal;
  /** What tiles are given by; `answers` for shares and a density. @default {"attention"} */
  readonly by?: CalibrationBy | undefined;
  /** Where they cannot share a context, each measures prompts of its own. */
  readonly processCount: number;
  /** Copies of the model that share the prompts. @default {1} */
  readonly replicas?: number | undefined;
  /** Whether earlier curves are removed first. */
  readonly overwrite?: boolean | undefined;
}
