/**
 * What all commands that load a model are asked for: where and how it computes.
 *
 * @module
 */
import type { CheckedLoad } from "../../lib/engine/options.ts";
import type { ComputeDType } from "../../lib/model/precision.ts";
import type { WeightOptions } from "./weights.ts";

/** How a model is loaded; the defaults are the command line's. */
export interface ModelLoadOptions extends WeightOptions {
  readonly modelPath: string;
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
  readonly threads: number;
  /** GPUs of each process that the layers are spread over; by default the fewest that do. */
  readonly gpusPerRank?: number | undefined;
  readonly timeoutMs: number;
  readonly startTimeoutMs?: number | undefined;
  /** Whether weights are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Stands in place of the configuration's. */
  readonly ropeScaling?: CheckedLoad["ropeScaling"];
}

/** The same of commands that answer samples, several at once. */
export interface SampleLoadOptions extends ModelLoadOptions {
  /** Samples that are decoded at once, at most. @default {1} */
  readonly batchSize?: number | "auto" | undefined;
  /** Copies of the model that share the samples. @default {1} */
  readonly replicas?: number | undefined;
}
