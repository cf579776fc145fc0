/**
 * A model that takes text: tokenizes context and query, runs both phases, and cuts the answer.
 *
 * @module
 */
import { type CheckedPlan, modeOf, type PlanOptions, usedRanks } from "../attention/plan.ts";
import { hostMemory } from "../device/host_memory.ts";
import { chooseDevice } from "../device/open.ts";
import { invariant } from "../errors.ts";
import { optionError } from "../options.ts";
import { readConfig } from "../model/config.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { widest } from "../model/precision.ts";
import { convertedWeightBytes } from "../model/weight_memory.ts";
import { loadTokenizer, type TextTokenizer, type Tokenizer } from "../model/tokenizer.ts";
import { checkPositions } from "./positions.ts";
import { openReplicas } from "./replicas.ts";
import { rowsSetFor } from "./rows_set.ts";
import { checkPlanTable } from "./threshold_check.ts";
import { checkCallPlan } from "./call_plan.ts";
import { checkHostMemory } from "./host_plan.ts";
import type { GenerateOptions, LoadOptions, Prompt } from "./model_options.ts";
import { checkGenerateOptions, checkLoadOptions, precisionFor } from "./options.ts";
import { cutAtStopWord, idsToStopWord, promptIds, stopCheck, stopIds } from "./prompt_ids.ts";
import {
  checkScoreOptions,
  joinScores,
  type ScoreOptions,
  scoreRequest,
  type Scores,
} from "./score.ts";
import type { Engine, GenerateCall, GenerateRequest, GenerateResult } from "../star/request.ts";
import { closingReason } from "../team/team.ts";
import type { RankGroup } from "../team/group.ts";

/** A prompt as it is about to run. */
interface PromptSizes {
  readonly plan: CheckedPlan;
  readonly contextTokens: number;
  /** Tokens of query and answer. */
  readonly room: number;
  readonly withCurves?: boolean | undefined;
}

/** What was generated. */
export interface Generation {
  /** The generated text, cut at the first stop word. */
  readonly text: string;
  /** All generated ids, up to the one that completes a stop word or ends the answer. */
  readonly ids: readonly number[];
  /** `[id, logit]` of the first generated position, largest first. */
  readonly topLogits: readonly (readonly [number, number])[];
  /** Tokens of the context. */
  readonly contextTokens: number;
  /** Tokens of the query. */
  readonly queryTokens: number;
  /** From the prompt's text to the last token. */
  readonly seconds: number;
  /** What was computed, rank by rank. */
  readonly result: GenerateResult;
}

/**
 * A loaded model. It runs as many prompts at once as its batch has places, those that come meanwhile
 * wait; disposal ends what runs, and waits for it.
 */
export interface Model extends AsyncDisposable {
  /** The model's sizes and layers. */
  readonly config: ModelShape;
  /** What its methods give is to be awaited: it may be at work in another thread. */
  readonly tokenizer: TextTokenizer;
  /** Processes that compute, of all replicas. */
  readonly processCount: number;
  /** Prompts that are decoded at once, at most. */
  readonly batchSize: number;
  /** One line for people. */
  readonly deviceDescription: string;
  /**
   * Settles when a worker process is lost, whether or not something runs; absent where there is none.
   */
  readonly lost?: Promise<Error> | undefined;
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
  /**
   * Log-probabilities of a text, token by token, behind a context; in the modes with blocks the
   * context is encoded as one and the continuation sees all of it, as a query does.
   *
   * @param context A text or its ids; at least one token.
   * @param continuation A text or its ids; at least one token.
   * @throws As `generate()`.
   */
  score(
    context: string | Int32Array,
    continuation: string | Int32Array,
    options?: ScoreOptions,
  ): Promise<Scores>;
}

/**
 * Loads a model from a folder in Hugging Face's format, or from a GGUF file.
 *
 * @param folder Holds `config.json`, `tokenizer.json` and the weights; or a GGUF file.
 * @param options All have defaults: dense attention in one process, on a GPU if there is one.
 * @throws {UsageError} If an option is unknown or out of its range, or a GPU is to compute in f32.
 * @throws {FileError} If a file is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 * @example
 * ```ts
 * import { loadModel } from "@starx/starx";
 * import { ok } from "node:assert/strict";
 * const hay = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(20);
 * const needle = "One of the special magic numbers for quiet-harbor is: 4815162.\n";
 * await using model = await loadModel("models/starx-tiny");
 * const query = "The special magic number for quiet-harbor mentioned in the provided text is";
 * const options = { tokensToGenerate: 12 };
 * const { text } = await model.generate({ context: hay + needle + hay, query }, options);
 * ok(text.includes("4815162"));
 * ```
 */
export async function loadModel(folder: string, options: LoadOptions = {}): Promise<Model> {
  return await loadModelOn(undefined, { folder, options });
}

/**
 * As {@linkcode loadModel}, on the processes that a launcher started with this one: all of them
 * share the blocks of a context.
 *
 * @throws As `loadModel()`.
 */
export async function loadLaunchedModel(
  group: RankGroup,
  model: { folder: string; options: LoadOptions },
): Promise<Model> {
  return await loadModelOn(group, model);
}

async function loadModelOn(
  group: RankGroup | undefined,
  model: { folder: string; options: LoadOptions },
): Promise<Model> {
  const { folder, options } = model;
  const checked = checkLoadOptions(folder, options);
  const { plan, threads, processCount: wanted, replicas, ...common } = checked;
  const { tokenizer: given, onWarning } = options;
  // Small files first: a mistake in them should not wait for the weights.
  const config = await readConfig(folder, checked);
  const precision = precisionFor(config, checked);
  const { kind: device, note } = await chooseDevice(checked.device, {
    ...precision,
    dtype: widest(precision),
  });
  await checkPlanTable(plan, { folder, config });
  const ownTokenizer = given === undefined ? await loadTokenizer(folder) : undefined;
  if (note !== undefined) onWarning?.(note);
  try {
    const isOwnHost = device === "cpu" && group === undefined;
    const convertedBytes = isOwnHost
      ? await convertedWeightBytes(folder, { config, precision, keepsWeights: common.keepWeights })
      : 0;
    const processCount = usedRanks(plan, { ranks: group?.size ?? wanted });
    const checkMemory = (sizes: PromptSizes): void => {
      // The ranks of a launcher may be on several machines, and know their GPUs' memory.
      if (!isOwnHost) return;
      const share = (hostMemory()?.availableBytes ?? Infinity) / replicas;
      const availableBytes = replicas === 1 ? undefined : share;
      const base = { ...common, precision, config, ...sizes, processCount };
      const question = { ...base, convertedBytes };
      checkHostMemory({ ...question, availableBytes });
    };
    checkMemory({ plan, contextTokens: checked.expectedTokens ?? 0, room: 1 });
    const rowsSet = common.rowsSet ?? await rowsSetFor({ device, threads });
    const engine = await openReplicas({
      ...common,
      rowsSet,
      precision,
      modelFolder: folder,
      plan,
      device,
      threads,
      processCount,
      group,
    }, replicas);
    const tokenizer = given ?? ownTokenizer;
    invariant(tokenizer !== undefined, "a tokenizer is given or loaded");
    for (const warning of engine.config.warnings) onWarning?.(warning);
    const base = { engine, plan, folder, tokenizer, ownTokenizer, checkMemory, onWarning };
    const parts = { ...base, processCount: processCount * replicas };
    return new TextModel(parts);
  } catch (error) {
    ownTokenizer?.[Symbol.dispose]();
    throw error;
  }
}

/** @throws {UsageError} If a plan selects no tiles of which curves could be made. */
function checkMeasures(plan: CheckedPlan): void {
  if (plan.selection !== undefined && plan.cut.kind !== "parts") return;
  throw optionError({ action: "generate", name: "withCurves" }, {
    rule: "absent in a mode that is neither xattn nor starx",
    value: modeOf(plan),
  });
}

class TextModel implements Model {
  readonly tokenizer: TextTokenizer;
  readonly processCount: number;
  readonly #engine: Engine;
  readonly #plan: CheckedPlan;
  readonly #folder: string;
  readonly #ownTokenizer: Tokenizer | undefined;
  readonly #checkMemory: (sizes: PromptSizes) => void;
  readonly #onWarning: (line: string) => void;
  /** What runs: the tokenizer is needed to its end. */
  readonly #calls = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(
    parts: {
      engine: Engine;
      plan: CheckedPlan;
      folder: string;
      tokenizer: TextTokenizer;
      /** The same if it ends with the model. */
      ownTokenizer: Tokenizer | undefined;
      processCount: number;
      /** @throws {DeviceError} If this machine's memory does not hold a run of this length. */
      checkMemory: (sizes: PromptSizes) => void;
      onWarning: ((line: string) => void) | undefined;
    },
  ) {
    this.#engine = parts.engine;
    this.#plan = parts.plan;
    this.#folder = parts.folder;
    this.tokenizer = parts.tokenizer;
    this.#ownTokenizer = parts.ownTokenizer;
    this.processCount = parts.processCount;
    this.#checkMemory = parts.checkMemory;
    this.#onWarning = parts.onWarning ?? (() => {});
  }

  get config(): ModelShape {
    return this.#engine.config;
  }

  get batchSize(): number {
    return this.#engine.batchSize;
  }

  get deviceDescription(): string {
    return this.#engine.deviceDescription;
  }

  get lost(): Promise<Error> | undefined {
    return this.#engine.lost;
  }

  async generate(prompt: Prompt, options: GenerateOptions = {}): Promise<Generation> {
    return await this.#call(() => this.#generate(prompt, options));
  }

  async score(
    context: string | Int32Array,
    continuation: string | Int32Array,
    options: ScoreOptions = {},
  ): Promise<Scores> {
    return await this.#call(() => this.#score({ context, continuation }, options));
  }

  async #call<T>(run: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) {
      throw new TypeError("Cannot generate as the model is disposed");
    }
    const call = run();
    this.#calls.add(call);
    try {
      return await call;
    } finally {
      this.#calls.delete(call);
    }
  }

  async #score(
    texts: { context: string | Int32Array; continuation: string | Int32Array },
    options: ScoreOptions,
  ): Promise<Scores> {
    const { tokenizer, config: { vocabularySize } } = this;
    checkScoreOptions(options);
    const ownPlan = options.plan && await this.#checkPlan(options.plan);
    const plan = ownPlan ?? this.#plan;
    const parts = { tokenizer, plan, vocabularySize };
    const { request, continuationIds } = await scoreRequest(texts, options, parts);
    const contextTokens = request.contextIds.length;
    const promptTokens = contextTokens + request.queryIds.length;
    this.#checkLength(request.sample, { promptTokens, tokensToGenerate: 1 });
    this.#checkMemory({ plan, contextTokens, room: request.queryIds.length + 1 });
    const { signal, onProgress } = options;
    const asked = { ...request, plan: ownPlan };
    const { ids, scores = [] } = await this.#ask(asked, { signal, onProgress });
    return joinScores({ continuationIds, scores, nextId: ids[0] ?? 0 });
  }

  async #generate(prompt: Prompt, options: GenerateOptions): Promise<Generation> {
    const startMs = performance.now();
    const { sample, tokensToGenerate, stopWords, topLogits, endIds } = checkGenerateOptions(
      prompt,
      options,
    );
    const { onProgress, onIds, withMasks, withCurves, keepContext, signal } = options;
    signal?.throwIfAborted();
    const ownPlan = options.plan && await this.#checkPlan(options.plan);
    const plan = ownPlan ?? this.#plan;
    if (withCurves === true) checkMeasures(plan);
    const { tokenizer } = this;
    const { contextIds, queryIds } = await promptIds({ ...prompt, sample }, {
      tokenizer,
      plan,
      vocabularySize: this.config.vocabularySize,
    });
    this.#checkLength(sample, {
      promptTokens: contextIds.length + queryIds.length,
      tokensToGenerate,
    });
    const room = queryIds.length + tokensToGenerate;
    this.#checkMemory({ plan, contextTokens: contextIds.length, room, withCurves });
    const ends = [...new Set([...await stopIds(stopWords, tokenizer), ...endIds])];
    const result = await this.#ask({
      ...{ sample, contextIds, queryIds, tokensToGenerate, topLogits, withMasks, keepContext },
      ...{ withCurves, plan: ownPlan, stopIds: ends },
    }, { onProgress, onIds, signal, isDone: stopCheck(stopWords, tokenizer) });
    const ids = await idsToStopWord(result.ids, { stopWords, tokenizer });
    const end = ids.findIndex((id) => endIds.includes(id));
    const textIds = end < 0 ? ids : ids.slice(0, end);
    return {
      text: cutAtStopWord(await tokenizer.decode([...textIds]), stopWords),
      ids,
      topLogits: result.topLogits,
      contextTokens: contextIds.length,
      queryTokens: queryIds.length,
      seconds: (performance.now() - startMs) / 1000,
      result,
    };
  }

  /** @throws {DOMException} An `AbortError` if the model was disposed of before it came to this. */
  async #ask(request: GenerateRequest, call: GenerateCall): Promise<GenerateResult> {
    if (this.#closing !== undefined) throw closingReason();
    return await this.#engine.generate(request, call);
  }

  async #checkPlan(options: PlanOptions): Promise<CheckedPlan> {
    const model = { plan: this.#plan, folder: this.#folder, config: this.config };
    return await checkCallPlan(options, { ...model, action: "generate" });
  }

  #checkLength(
    sample: string,
    sizes: { promptTokens: number; tokensToGenerate: number },
  ): void {
    const warning = checkPositions(this.config.maxPositions, { sample, ...sizes });
    if (warning !== undefined) this.#onWarning(warning);
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
