/**
 * What `infer` is asked for.
 *
 * @module
 */
import type { SampleLoadOptions } from "../shared/load_options.ts";
import type { SelectModule } from "../../lib/attention/select_module.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";

/** Options of `runInfer()`; the defaults are the command line's. */
export interface InferOptions extends SampleLoadOptions {
  readonly plan: PlanOptions;
  readonly processCount: number;
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
  /** Selects tiles, or looks at them. */
  readonly selectModule?: SelectModule | undefined;
  /** Whether an earlier output is removed first. */
  readonly overwrite?: boolean | undefined;
}
