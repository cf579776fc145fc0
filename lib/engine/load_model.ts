/**
 * A model that takes text: tokenizes context and query, runs both phases, and cuts the answer.
 *
 * @module
 */
import { type CheckedPlan, type PlanOptions, usedRanks } from "../attention/plan.ts";
import { chooseDevice, type DeviceWish } from "../device/open.ts";
import { invariant, RequestError } from "../errors.ts";
import { readConfig } from "../model/config.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { type ComputeDType, type Precision, widest } from "../model/precision.ts";
import { loadTokenizer, type TextTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { openEngine } from "./engine.ts";
import { checkHostMemory } from "./host_plan.ts";
import { checkGenerateOptions, checkLoadOptions } from "./options.ts";
import { cutAtStopWord, promptIds, stopIds } from "./prompt_ids.ts";
import type { RankGroup } from "../team/group.ts";
import type { Engine, GenerateResult, Progress } from "../star/request.ts";

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
  /** Processes that share the context; dense and xattn use one. @default {1} */
  readonly processCount?: number | undefined;
  /** Threads of each process; 0 divides the cores among the processes. @default {0} */
  readonly threads?: number | undefined;
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
   * The folder's tokenizer if it is loaded already, be it in another thread; it stays the caller's,
   * and outlives the model.
   */
  readonly tokenizer?: TextTokenizer | undefined;
  /** The processes that a launcher started with this one: all of them share the blocks. */
  readonly group?: RankGroup | undefined;
  /** Gets a line about anything unusual that does not stop the run. */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** A context, and the query about it. */
export interface Prompt {
  readonly context: string;
  readonly query: string;
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
  /** Whether to return which tiles were selected; not in the ring's modes. @default {false} */
  readonly withMasks?: boolean | undefined;
  /** How many of the first position's logits to return; 0 for none. @default {0} */
  readonly topLogits?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the run: what it took is freed on all ranks, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What was generated. */
export interface Generation {
  /** The generated text, cut at the first stop word. */
  readonly text: string;
  /** All generated ids. */
  readonly ids: readonly number[];
  /** `[id, logit]` of the first generated position, largest first. */
  readonly topLogits: readonly (readonly [number, number])[];
  readonly contextTokens: number;
  readonly queryTokens: number;
  /** From the prompt's text to the last token. */
  readonly seconds: number;
  readonly result: GenerateResult;
}

/** A loaded model. Prompts that come while one runs wait; disposal ends what runs, and waits for it. */
export interface Model extends AsyncDisposable {
  readonly config: ModelShape;
  /** What its methods give is to be awaited: it may be at work in another thread. */
  readonly tokenizer: TextTokenizer;
  readonly processCount: number;
  /** One line for people. */
  readonly deviceDescription: string;
  /**
   * Generates greedily.
   *
   * @throws {UsageError} If an option is out of its range.
   * @throws {RequestError} If the prompt is too long for the model, or the query is empty.
   * @throws {DeviceError} If there is not enough memory; the model goes on.
   * @throws {WorkerError} If a worker process is lost.
   * @throws {TypeError} If the model is disposed.
   * @throws The signal's reason; an `AbortError` if the model is disposed of meanwhile.
   */
  generate(prompt: Prompt, options?: GenerateOptions): Promise<Generation>;
}

/** How far a prompt may exceed the model's positions: RULER's fwe overshoots its length. */
const OVERSHOOT = 0.02;

/**
 * Loads a model from a folder in Hugging Face's format.
 *
 * @param folder Holds `config.json`, `tokenizer.json` and the weights.
 * @param options All have defaults: dense attention in one process, on a GPU if there is one.
 * @throws {UsageError} If an option is unknown or out of its range, or a GPU is to compute in f32.
 * @throws {FileError} If a file is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<Model> {
  const checked = checkLoadOptions(folder, options);
  const { plan, threads, processCount: wanted, ...common } = checked;
  const { tokenizer: given, group, onWarning } = options;
  const { kind: device, note } = await chooseDevice(checked.device, {
    dtype: widest(checked.precision),
  });
  if (note !== undefined) onWarning?.(note);
  // Small files first: a mistake in them should not wait for the weights.
  const config = await readConfig(folder);
  const ownTokenizer = given === undefined ? await loadTokenizer(folder) : undefined;
  try {
    const processCount = usedRanks(plan, { ranks: group?.size ?? wanted });
    const checkMemory = (contextTokens: number, room: number): void => {
      // The ranks of a launcher may be on several machines, and know their GPUs' memory.
      if (device === "cuda" || group !== undefined) return;
      checkHostMemory({ ...common, config, plan, contextTokens, room, processCount });
    };
    checkMemory(checked.expectedTokens ?? 0, 1);
    const engine = await openEngine({
      ...common,
      modelFolder: folder,
      plan,
      device,
      threads,
      processCount,
      group,
    });
    const tokenizer = given ?? ownTokenizer;
    invariant(tokenizer !== undefined, "a tokenizer is given or loaded");
    for (const warning of engine.config.warnings) onWarning?.(warning);
    const parts = { engine, plan, tokenizer, ownTokenizer, processCount, checkMemory, onWarning };
    return new TextModel(parts);
  } catch (error) {
    ownTokenizer?.[Symbol.dispose]();
    throw error;
  }
}

class TextModel implements Model {
  readonly tokenizer: TextTokenizer;
  readonly processCount: number;
  readonly #engine: Engine;
  readonly #plan: CheckedPlan;
  readonly #ownTokenizer: Tokenizer | undefined;
  readonly #checkMemory: (contextTokens: number, room: number) => void;
  readonly #onWarning: (line: string) => void;
  /** What runs: the tokenizer is needed to its end. */
  readonly #calls = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(
    parts: {
      engine: Engine;
      plan: CheckedPlan;
      tokenizer: TextTokenizer;
      /** The same if it ends with the model. */
      ownTokenizer: Tokenizer | undefined;
      processCount: number;
      /** @throws {DeviceError} If this machine's memory does not hold a run of this length. */
      checkMemory: (contextTokens: number, room: number) => void;
      onWarning: ((line: string) => void) | undefined;
    },
  ) {
    this.#engine = parts.engine;
    this.#plan = parts.plan;
    this.tokenizer = parts.tokenizer;
    this.#ownTokenizer = parts.ownTokenizer;
    this.processCount = parts.processCount;
    this.#checkMemory = parts.checkMemory;
    this.#onWarning = parts.onWarning ?? (() => {});
  }

  get config(): ModelShape {
    return this.#engine.config;
  }

  get deviceDescription(): string {
    return this.#engine.deviceDescription;
  }

  async generate(prompt: Prompt, options: GenerateOptions = {}): Promise<Generation> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) {
      throw new TypeError("Cannot generate as the model is disposed");
    }
    const call = this.#generate(prompt, options);
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #generate(prompt: Prompt, options: GenerateOptions): Promise<Generation> {
    const startMs = performance.now();
    const { sample, tokensToGenerate, stopWords, topLogits, endIds } = checkGenerateOptions(
      prompt,
      options,
    );
    const { onProgress, withMasks, signal } = options;
    const { tokenizer } = this;
    const { contextIds, queryIds } = await promptIds({ ...prompt, sample }, {
      tokenizer,
      plan: this.#plan,
      vocabularySize: this.config.vocabularySize,
    });
    this.#checkLength(sample, {
      promptTokens: contextIds.length + queryIds.length,
      tokensToGenerate,
    });
    this.#checkMemory(contextIds.length, queryIds.length + tokensToGenerate);
    const result = await this.#engine.generate({
      ...{ sample, contextIds, queryIds, tokensToGenerate, topLogits, withMasks },
      stopIds: [...new Set([...await stopIds(stopWords, tokenizer), ...endIds])],
    }, { onProgress, signal });
    const end = result.ids.findIndex((id) => endIds.includes(id));
    const textIds = end < 0 ? result.ids : result.ids.slice(0, end);
    return {
      text: cutAtStopWord(await tokenizer.decode([...textIds]), stopWords),
      ids: result.ids,
      topLogits: result.topLogits,
      contextTokens: contextIds.length,
      queryTokens: queryIds.length,
      seconds: (performance.now() - startMs) / 1000,
      result,
    };
  }

  #checkLength(
    sample: string,
    sizes: { promptTokens: number; tokensToGenerate: number },
  ): void {
    const { promptTokens, tokensToGenerate } = sizes;
    const { maxPositions } = this.config;
    if (promptTokens <= maxPositions) return;
    const limit = Math.floor(maxPositions * (1 + OVERSHOOT)) + tokensToGenerate;
    if (promptTokens > limit) {
      throw new RequestError(
        `Cannot run sample ${sample} as a prompt must have at most ${maxPositions} tokens ` +
          `(max_position_embeddings; up to ${limit} with a warning): current value is ${promptTokens}`,
      );
    }
    this.#onWarning(
      `Sample ${sample} has ${promptTokens} tokens, more than the model's ${maxPositions} ` +
        "positions (max_position_embeddings)",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    await Promise.allSettled(this.#calls);
    this.#ownTokenizer?.[Symbol.dispose]();
  }
}
