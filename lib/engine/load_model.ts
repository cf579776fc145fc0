/**
 * A model that takes text: tokenizes context and query, runs both phases, and cuts the answer.
 *
 * @module
 */
import { type AttentionPlan, checkPlan, sharesContext } from "../attention/plan.ts";
import { chooseDevice, type DeviceWish, threadsPerProcess } from "../device/open.ts";
import { invariant, RequestError } from "../errors.ts";
import { type LlamaConfig, readConfig } from "../model/config.ts";
import type { ComputeDType } from "../model/forward.ts";
import { loadTokenizer, type TextTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { openEngine } from "./engine.ts";
import { cutAtStopWord, promptIds, stopIds } from "./prompt_ids.ts";
import type { RankGroup } from "../team/group.ts";
import type { Engine, GenerateResult, Progress } from "../star/request.ts";

/** How to load a model and what to compute with it. */
export interface LoadOptions {
  readonly plan: AttentionPlan;
  /** `auto` takes a usable GPU, or else the CPU, and `onWarning` says so; `cuda` takes a GPU. */
  readonly device: DeviceWish;
  /** What keys, values and the inputs of matrix products are rounded to. */
  readonly dtype: ComputeDType;
  /** Processes that share the blocks; dense and xattn use one. */
  readonly processCount: number;
  /** Threads of each process; 0 divides the cores among the processes. */
  readonly threads: number;
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
  /** How long a process may make no progress, in milliseconds. */
  readonly timeoutMs: number;
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
  /** Names the sample in progress and error messages. */
  readonly sample: string;
}

/** How to generate. */
export interface GenerateOptions {
  /** At least 1. */
  readonly tokensToGenerate: number;
  /** The text is cut at the first of them; generation may end there. */
  readonly stopWords: readonly string[];
  /** How many of the first position's logits to return; 0 for none. */
  readonly topLogits: number;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
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

/** A loaded model; one prompt at a time. */
export interface Model extends AsyncDisposable {
  readonly config: LlamaConfig;
  /** What its methods give is to be awaited: it may be at work in another thread. */
  readonly tokenizer: TextTokenizer;
  readonly processCount: number;
  /** One line for people. */
  readonly deviceDescription: string;
  /**
   * Generates greedily.
   *
   * @throws {RequestError} If the prompt is too long for the model, or the query is empty.
   * @throws {WorkerError} If a worker process is lost.
   */
  generate(prompt: Prompt, options: GenerateOptions): Promise<Generation>;
}

/** How far a prompt may exceed the model's positions: RULER's fwe overshoots its length. */
const OVERSHOOT = 0.02;

/**
 * Loads a model from a folder in Hugging Face's format.
 *
 * @param folder Holds `config.json`, `tokenizer.json` and the weights.
 * @throws {UsageError} If the plan cannot be used, or a GPU is to compute in f32.
 * @throws {FileError} If a file is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function loadModel(folder: string, options: LoadOptions): Promise<Model> {
  const plan = checkPlan(options.plan);
  const { kind: device, note } = await chooseDevice(options.device, options);
  if (note !== undefined) options.onWarning?.(note);
  // Small files first: a mistake in them should not wait for the weights.
  await readConfig(folder);
  const ownTokenizer = options.tokenizer === undefined ? await loadTokenizer(folder) : undefined;
  try {
    const { dtype, timeoutMs, group, gpusPerRank, expectedTokens } = options;
    const isShared = sharesContext(plan.mode);
    const processCount = isShared ? group?.size ?? options.processCount : 1;
    // Each launched rank divides the cores of its own machine.
    const threads = isShared && group !== undefined
      ? options.threads
      : threadsPerProcess(options.threads, { processCount });
    const engine = await openEngine({
      modelFolder: folder,
      plan,
      device,
      dtype,
      threads,
      gpusPerRank,
      expectedTokens,
      processCount,
      timeoutMs,
      group,
    });
    const tokenizer = options.tokenizer ?? ownTokenizer;
    invariant(tokenizer !== undefined, "a tokenizer is given or loaded");
    const { onWarning } = options;
    const { mode } = plan;
    return new TextModel({ engine, mode, tokenizer, ownTokenizer, processCount, onWarning });
  } catch (error) {
    ownTokenizer?.[Symbol.dispose]();
    throw error;
  }
}

class TextModel implements Model {
  readonly tokenizer: TextTokenizer;
  readonly processCount: number;
  readonly #engine: Engine;
  readonly #mode: AttentionPlan["mode"];
  readonly #ownTokenizer: Tokenizer | undefined;
  readonly #onWarning: (line: string) => void;

  constructor(
    parts: {
      engine: Engine;
      mode: AttentionPlan["mode"];
      tokenizer: TextTokenizer;
      /** The same if it ends with the model. */
      ownTokenizer: Tokenizer | undefined;
      processCount: number;
      onWarning: ((line: string) => void) | undefined;
    },
  ) {
    this.#engine = parts.engine;
    this.#mode = parts.mode;
    this.tokenizer = parts.tokenizer;
    this.#ownTokenizer = parts.ownTokenizer;
    this.processCount = parts.processCount;
    this.#onWarning = parts.onWarning ?? (() => {});
  }

  get config(): LlamaConfig {
    return this.#engine.config;
  }

  get deviceDescription(): string {
    return this.#engine.deviceDescription;
  }

  async generate(prompt: Prompt, options: GenerateOptions): Promise<Generation> {
    const startMs = performance.now();
    const { sample } = prompt;
    const { tokensToGenerate, stopWords, topLogits, onProgress } = options;
    const { tokenizer } = this;
    const { contextIds, queryIds } = await promptIds(prompt, {
      tokenizer,
      mode: this.#mode,
      vocabularySize: this.config.vocabularySize,
    });
    this.#checkLength(prompt, {
      promptTokens: contextIds.length + queryIds.length,
      tokensToGenerate,
    });
    const result = await this.#engine.generate({
      ...{ sample, contextIds, queryIds, tokensToGenerate, topLogits },
      stopIds: await stopIds(stopWords, tokenizer),
    }, { onProgress });
    return {
      text: cutAtStopWord(await tokenizer.decode([...result.ids]), stopWords),
      ids: result.ids,
      topLogits: result.topLogits,
      contextTokens: contextIds.length,
      queryTokens: queryIds.length,
      seconds: (performance.now() - startMs) / 1000,
      result,
    };
  }

  #checkLength(
    prompt: Prompt,
    sizes: { promptTokens: number; tokensToGenerate: number },
  ): void {
    const { promptTokens, tokensToGenerate } = sizes;
    const { maxPositions } = this.config;
    if (promptTokens <= maxPositions) return;
    const limit = Math.floor(maxPositions * (1 + OVERSHOOT)) + tokensToGenerate;
    if (promptTokens > limit) {
      throw new RequestError(
        `Cannot run sample ${prompt.sample} as a prompt must have at most ${maxPositions} tokens ` +
          `(max_position_embeddings; up to ${limit} with a warning): current value is ${promptTokens}`,
      );
    }
    this.#onWarning(
      `Sample ${prompt.sample} has ${promptTokens} tokens, more than the model's ${maxPositions} ` +
        "positions (max_position_embeddings)",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
    this.#ownTokenizer?.[Symbol.dispose]();
  }
}
