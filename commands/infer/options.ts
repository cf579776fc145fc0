/**
 * What `infer` is asked for.
 *
 * @module
 */
import type { WeightOptions } from "../shared/weights.ts";
import type { SelectModule } from "../../lib/attention/select_module.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import type { ComputeDType } from "../../lib/model/precision.ts";

/** Options of `runInfer()`; the defaults are the command line's. */
export interface InferOptions extends WeightOptions {
  readonly modelPath: string;
  readonly plan: PlanOptions;
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
  readonly processCount: number;
  readonly threads: number;
  /** GPUs of each process that the layers are spread over; by default the fewest that do. */
  readonly gpusPerRank?: number | undefined;
  /** Samples that are decoded at once, at most. @default {1} */
  readonly batchSize?: number | "auto" | undefined;
  /** Copies of the model that share the samples. @default {1} */
  readonly replicas?: number | undefined;
  readonly timeoutMs: number;
  readonly startTimeoutMs?: number | undefined;
  readonly inputPath: string;
  readonly outputPath: string;
  /** Only the first samples; -1 for all. */
  readonly sampleLimit: number;
  readonly tokensToGenerate: number;
  readonly stopWords: readonly string[];
  /** How many logits each record gets; 0 for none. */
  readonly topLogits: number;
  /** The prompt template that stands around each prompt; undefined for none. */
  readonly template?: string | undefined;
  /** Whether an answer goes on behind the model's end-of-sequence ids. */
  readonly ignoreEos?: boolean | undefined;
  /** Whether weights are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Stands in place of the configuration's. */
  readonly ropeScaling?: CheckedLoad["ropeScaling"];
  /** Selects tiles, or looks at them. */
  readonly selectModule?: SelectModule | undefined;
  /** Whether an earlier output is removed first. */
  readonly overwrite?: boolean | undefined;
}
