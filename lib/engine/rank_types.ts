/**
 * What a rank's model is made of and found, and what it is asked with.
 *
 * @module
 */
import type { CheckedPlan } from "../attention/plan.ts";
import type { LoadedHooks, SelectModule } from "../attention/select_module.ts";
import type { DeviceKind } from "../device/open.ts";
import type { Stage } from "../device/stages.ts";
import type { RowsSetName } from "../ffi/status.ts";
import type { ConfigOptions } from "../model/config.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { Precision } from "../model/precision.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import type { Collective } from "../parallel/collective.ts";

/** What every rank is started with. */
export interface RankOptions extends ConfigOptions {
  /** A folder in Hugging Face's format. */
  readonly modelFolder: string;
  readonly plan: CheckedPlan;
  readonly device: DeviceKind;
  readonly precision: Precision;
  /** Threads of this process. */
  readonly threads: number;
  /** The instruction set that multiplies the rows of decode steps on a CPU; by default one does all. */
  readonly rowsSet?: RowsSetName | undefined;
  /**
   * GPUs of each rank that its layers are spread over; by default the fewest that the weights and
   * the expected prompt fit on.
   */
  readonly gpusPerRank?: number | undefined;
  /** The longest prompt and answer that are to come: what cannot fit is refused before loading. */
  readonly expectedTokens?: number | undefined;
  /** Whether weights are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Whether weights that are rounded to 8 bits are kept beside the model. */
  readonly keepWeights?: boolean | undefined;
  /** Sequences that are decoded at once, at most; `auto` as many as pay and fit. @default {1} */
  readonly batchSize?: number | "auto" | undefined;
  /** A module that selects tiles, or looks at them. */
  readonly select?: SelectModule | undefined;
  /** Which copy of the model this is, of how many that share the machine. */
  readonly replica?: { readonly index: number; readonly count: number } | undefined;
}

/** A rank's place among the others. */
export interface RankPlace {
  /** Exchanges host memory among the ranks. */
  readonly host: Collective;
  /** Called while weights are loaded, again and again. */
  readonly onProgress?: () => void;
}

/** A model that is in memory already. */
export interface RankParts {
  readonly config: ModelShape;
  /** Where the layers lie. */
  readonly stages: readonly Stage[];
  readonly weights: ModelWeights;
  readonly plan: CheckedPlan;
  readonly precision: Precision;
  /** Share of the tiles that modes with selection compute at random in place of those that the mass selects. */
  readonly density?: number | undefined;
  /** A selection of one's own. */
  readonly hooks?: LoadedHooks | undefined;
  /** The longest chunk of tokens that runs through the layers at once. */
  readonly chunkTokens: number;
  /** Sequences that are decoded at once, at most; `auto` as many as pay and fit. @default {1} */
  readonly batchSize?: number | "auto" | undefined;
  /** Where memory is the host's: bytes that keys and values of several sequences may take. */
  readonly hostBytes?: number | undefined;
  /** Whether every rank has GPUs of its own. */
  readonly hasOwnGpus?: boolean;
  /** GPUs that the layers could be spread over. */
  readonly dealtGpus?: number;
}
