/**
 * What callers may say of a model, and of an answer. The defaults and limits are in `options.ts`.
 *
 * @module
 */
import type { PlanOptions } from "../attention/plan.ts";
import type { SelectModule } from "../attention/select_module.ts";
import type { DeviceWish } from "../device/open.ts";
import type { RowsSetName } from "../ffi/status.ts";
import type { ComputeDType, EightBits, Precision } from "../model/precision.ts";
import type { TextTokenizer } from "../model/tokenizer.ts";
import type { Progress } from "../star/request.ts";

/** How to load a model and what to compute with it. */
export interface LoadOptions extends PlanOptions {
  /**
   * `auto` takes a usable GPU, or else the CPU, and `onWarning` says so; `cuda` takes a GPU.
   *
   * @default {"auto"}
   */
  readonly device?: DeviceWish | undefined;
  /** What numbers are rounded to, as a whole or part by part. @default {"bf16"} */
  readonly precision?: ComputeDType | Precision | undefined;
  /**
   * `int8` and `fp8` round the matrices of layers to 8 bits. `int8` is a CPU's, which rounds each row that
   * meets them, too. `fp8` is a Hopper GPU's, which does so where there are many rows, and a CPU's.
   * By default what the precision says, or 8 bits where the files have them, which `bf16` widens.
   */
  readonly weights?: "bf16" | EightBits | undefined;
  /** 8 bits for the head, too. @default {"bf16"} */
  readonly head?: "bf16" | EightBits | undefined;
  /**
   * Whether weights that are rounded to 8 bits are kept in a file beside the model: the next time they are
   * mapped from there, and processes share them.
   *
   * @default {false}
   */
  readonly keepWeights?: boolean | undefined;
  /** Processes that share the context; dense and xattn use one. @default {1} */
  readonly processCount?: number | undefined;
  /** Threads of each process; 0 divides the cores among the processes. @default {0} */
  readonly threads?: number | undefined;
  /**
   * The instruction set that multiplies the rows of decode steps on a CPU, as an earlier run's
   * record says it; `own` for the set that computes everything else. By default it is measured
   * where that is not known, and all processes take the same. STARX_ISA wins.
   */
  readonly rowsSet?: RowsSetName | undefined;
  /**
   * GPUs of each process that the layers are spread over; by default the fewest that the weights
   * and `expectedTokens` fit on.
   */
  readonly gpusPerRank?: number | undefined;
  /**
   * The longest prompt with its answer that is to come, in tokens: what will not fit into a GPU's
   * memory is refused before the weights are loaded.
   */
  readonly expectedTokens?: number | undefined;
  /**
   * Samples that are decoded at once, at most: each makes a token of the others cheaper, and none
   * changes a bit of another. `auto` takes as many as pay; what memory has no room for waits.
   *
   * @default {1}
   */
  readonly batchSize?: number | "auto" | undefined;
  /**
   * Copies of the model, each with processes of its own, that share the prompts: for several GPUs of
   * which one is enough for a prompt.
   *
   * @default {1}
   */
  readonly replicas?: number | undefined;
  /** How long a process may make no progress, in milliseconds. @default {60000} */
  readonly timeoutMs?: number | undefined;
  /** How long a process may take to start and join, in milliseconds. @default {60000} */
  readonly startTimeoutMs?: number | undefined;
  /**
   * Whether weights are read into memory instead of being mapped: for files that may change while
   * the model is in use. Each process has its own copy then.
   *
   * @default {false}
   */
  readonly copyWeights?: boolean | undefined;
  /**
   * Stretches the model: as `rope_scaling` in `config.json`, in place of what stands there, for
   * example `{ rope_type: "yarn", factor: 4 }`.
   */
  readonly ropeScaling?: Readonly<Record<string, unknown>> | undefined;
  /**
   * A module that selects tiles in place of XAttention, or looks at them, in `xattn`, `starx` and
   * `ringx`: a path, a `file:` URL, or a module whose text is known. It exports functions of
   * {@linkcode SelectionHooks}, and every process loads it.
   */
  readonly selectModule?: string | URL | SelectModule | undefined;
  /**
   * The folder's tokenizer if it is loaded already, be it in another thread; it stays the caller's,
   * and outlives the model.
   */
  readonly tokenizer?: TextTokenizer | undefined;
  /** Gets a line about anything unusual that does not stop the run. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** A context, and the query about it. */
export interface Prompt {
  /** A text, or its ids. */
  readonly context: string | Int32Array;
  /** A text, or its ids; at least one. */
  readonly query: string | Int32Array;
  /** Names the sample in progress and error messages. @default {"prompt"} */
  readonly sample?: string | undefined;
}

/** How to generate. */
export interface GenerateOptions {
  /** At least 1. @default {128} */
  readonly tokensToGenerate?: number | undefined;
  /** The text is cut at the first of them; generation may end there. @default {[]} */
  readonly stopWords?: readonly string[] | undefined;
  /**
   * Ids that end the answer, for example the model's end-of-sequence ids: generation may end there,
   * and the text is cut in front of the first of them.
   *
   * @default {[]}
   */
  readonly endIds?: readonly number[] | undefined;
  /**
   * The attention of this prompt in place of the model's, so that a sweep loads a model once. It may
   * differ in all but its merge and the keys that are read.
   */
  readonly plan?: PlanOptions | undefined;
  /** Whether to return which tiles were selected; not in the ring's modes. @default {false} */
  readonly withMasks?: boolean | undefined;
  /**
   * Whether to compute the context's attention exactly, whatever the plan selects, and to return what
   * each threshold would keep of it, head by head; in `xattn` and `starx`.
   *
   * @default {false}
   */
  readonly withCurves?: boolean | undefined;
  /**
   * Whether the next prompts are likely to have the same context: it stays encoded, and they take it
   * as it is, until one comes without this option. No result depends on it.
   *
   * @default {false}
   */
  readonly keepContext?: boolean | undefined;
  /** How many of the first position's logits to return; 0 for none. @default {0} */
  readonly topLogits?: number | undefined;
  /** Told where the run stands. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Gets the ids so far while they are generated, the latest ones at least now and then. */
  readonly onIds?: ((ids: readonly number[]) => void) | undefined;
  /** Ends the run: what it took is freed on all ranks, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How to open a model for the two phases. */
export interface PhasesOptions extends PlanOptions {
  /** What numbers are rounded to, as a whole or part by part. @default {"bf16"} */
  readonly precision?: ComputeDType | Precision | undefined;
  /**
   * `int8` and `fp8` round the matrices of layers to 8 bits. `int8` is a CPU's, which rounds each row that
   * meets them, too. `fp8` is a Hopper GPU's, which does so where there are many rows, and a CPU's.
   * By default what the precision says, or 8 bits where the files have them, which `bf16` widens.
   */
  readonly weights?: "bf16" | EightBits | undefined;
  /** 8 bits for the head, too. @default {"bf16"} */
  readonly head?: "bf16" | EightBits | undefined;
  /** Threads of each process; 0 divides the cores among the processes. @default {0} */
  readonly threads?: number | undefined;
  /** As in {@linkcode LoadOptions}. */
  readonly rowsSet?: RowsSetName | undefined;
  /** `auto` takes a usable GPU, or else the CPU. @default {"auto"} */
  readonly device?: DeviceWish | undefined;
  /** GPUs that the layers are spread over; by default the fewest that the weights fit on. */
  readonly gpusPerRank?: number | undefined;
  /** Processes that share the blocks. @default {1} */
  readonly processCount?: number | undefined;
  /** As in {@linkcode LoadOptions}. */
  readonly selectModule?: string | URL | SelectModule | undefined;
  /** How long a process may make no progress, in milliseconds. @default {60000} */
  readonly timeoutMs?: number | undefined;
  /** How long a process may take to start and join, in milliseconds. @default {60000} */
  readonly startTimeoutMs?: number | undefined;
}
