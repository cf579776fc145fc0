/**
 * The two phases of Star Attention by hand (arXiv 2411.17116, section 2): encode a context once, look
 * at it, and ask as many queries about it as one likes.
 *
 * `loadModel()` is the way for texts; this one takes and returns ids.
 *
 * @module
 */
import { type CheckedPlan, type PlanOptions, usedRanks } from "../attention/plan.ts";
import { chooseDevice } from "../device/open.ts";
import { readConfig } from "../model/config.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { widest } from "../model/precision.ts";
import type { BlockLayout } from "../star/blocks.ts";
import { invariant, RequestError } from "../errors.ts";
import { checkIds, checkRequest, type GenerateRequest } from "../star/request.ts";
import { encodeInt32 } from "../team/protocol.ts";
import type { Team } from "../team/team.ts";
import { checkCallPlan } from "./call_plan.ts";
import { openModelTeam } from "./engine.ts";
import type { PhasesOptions } from "./model_options.ts";
import { checkPhasesOptions, precisionFor } from "./options.ts";
import { rowsSetFor } from "./rows_set.ts";
import { checkPlanTable } from "./threshold_check.ts";
import { joinAnswers, type StarTypes, toWire } from "./wire.ts";

/** What a call may come with. */
export interface PhaseCall {
  /** Ends the call: what it took is freed, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a context is encoded with. */
export interface EncodeCall extends PhaseCall {
  /** Tokens of query and answer that the cache must take. */
  readonly room: number;
  /**
   * The attention of this context in place of the model's, so that a sweep loads a model once. It may
   * differ in all but its merge and which keys are read.
   */
  readonly plan?: PlanOptions | undefined;
}

/**
 * A context after phase 1. Disposal frees its keys and values, behind the answers that were asked for
 * before.
 */
export interface Encoded extends Disposable {
  /** Which rank has which blocks. */
  readonly layout: BlockLayout;
  /** Times that the anchor block was encoded on its own, over all processes. */
  readonly anchorPasses: number;
  /** Per context block and layer, `selected` of `causal` 128 x 128 tiles; empty in dense modes. */
  readonly selected: readonly (readonly { readonly selected: number; readonly causal: number }[])[];
}

/** What one query gave. */
export interface Answer {
  /** Generated ids, a stop id included if one ended the generation. */
  readonly ids: readonly number[];
  /** `[id, logit]` of the first generated position, largest first. */
  readonly topLogits: readonly (readonly [number, number])[];
}

/**
 * A model whose phases are called one by one; calls that come while one runs wait. Disposal ends what
 * runs: `await using` waits for the end, `using` does not.
 */
export interface Phases extends Disposable, AsyncDisposable {
  /** The model's sizes and layers. */
  readonly config: ModelShape;
  /**
   * Phase 1: encodes all blocks of a context.
   *
   * @param contextIds Token ids, tokenized without added special tokens.
   * @param options What it is encoded with.
   * @throws {UsageError} If an option of the plan is out of its range, or it merges or reads keys in
   * another way.
   * @throws {RequestError} If the ids or the room cannot be used, or the context has more tokens than
   * the model has positions.
   * @throws {KernelError} If there is not enough memory.
   * @throws {TypeError} If the model is disposed.
   * @throws The signal's reason; an `AbortError` if the model is disposed of meanwhile.
   */
  encode(contextIds: Int32Array, options: EncodeCall): Promise<Encoded>;
  /**
   * Phase 2: encodes a query and generates greedily; the context can be asked again.
   *
   * @throws {TypeError} If `encoded` is from another model or disposed of.
   * @throws {RequestError} If the query is empty, exceeds the room, or would have its answer end beyond
   * the model's positions.
   * @throws The signal's reason; an `AbortError` if the model is disposed of meanwhile.
   */
  answer(
    encoded: Encoded,
    query: Pick<GenerateRequest, "queryIds" | "tokensToGenerate" | "stopIds" | "topLogits">,
    call?: PhaseCall,
  ): Promise<Answer>;
}

/**
 * Opens a model folder in Hugging Face's format, or a GGUF file.
 *
 * @param options All have defaults.
 * @throws {UsageError} If an option is unknown or out of its range.
 * @throws {FileError} If a file is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @example Encodes a context once and asks it twice.
 * ```ts
 * import { loadTokenizer, openPhases } from "@starx/starx";
 * import { equal } from "node:assert/strict";
 * const folder = "models/starx-tiny";
 * using tokenizer = await loadTokenizer(folder);
 * await using phases = await openPhases(folder, { mode: "star", blockTokens: 128, threads: 1 });
 * const context = tokenizer.encode("The grass is green. The sky is blue.\n".repeat(40));
 * using encoded = await phases.encode(context, { room: 16 });
 * for (const text of ["The sky is", "The grass is"]) {
 *   const queryIds = tokenizer.encode(text);
 *   const options = { tokensToGenerate: 4, stopIds: [], topLogits: 0 };
 *   const { ids } = await phases.answer(encoded, { queryIds, ...options });
 *   equal(ids.length, 4);
 * }
 * ```
 */
export async function openPhases(folder: string, options: PhasesOptions = {}): Promise<Phases> {
  const checked = checkPhasesOptions(folder, options);
  const config = await readConfig(folder);
  const precision = precisionFor(config, checked);
  const kinds = { ...precision, dtype: widest(precision) };
  const { kind: device } = await chooseDevice(checked.device, kinds);
  await checkPlanTable(checked.plan, { folder, config });
  const processCount = usedRanks(checked.plan, { ranks: checked.processCount });
  const rowsSet = checked.rowsSet ?? await rowsSetFor({ device, threads: checked.threads });
  const ranks = { ...checked, rowsSet, precision, modelFolder: folder, device, processCount };
  const team = await openModelTeam(ranks);
  return new TeamPhases(team, { plan: checked.plan, folder });
}

class TeamPhases implements Phases {
  readonly config: ModelShape;
  readonly #team: Team<StarTypes>;
  readonly #plan: CheckedPlan;
  readonly #folder: string;
  /** The contexts that are kept, with their numbers on the ranks. */
  readonly #encoded = new Map<Encoded, { readonly context: number; readonly tokens: number }>();
  #contexts = 0;

  constructor(team: Team<StarTypes>, model: { plan: CheckedPlan; folder: string }) {
    const [ready] = team.ready;
    invariant(ready !== undefined, "a team has a rank 0");
    this.#team = team;
    this.#plan = model.plan;
    this.#folder = model.folder;
    this.config = ready.config;
  }

  async encode(contextIds: Int32Array, options: EncodeCall): Promise<Encoded> {
    const { room, signal } = options;
    const plan = options.plan === undefined ? undefined : await this.#checkPlan(options.plan);
    if (!Number.isSafeInteger(room) || room < 0) {
      throw new RequestError(
        `Cannot encode a context as 'room' must be a whole number of at least 0: ` +
          `current value is ${room}`,
      );
    }
    checkIds(contextIds, { what: "encode a context", ...this.config });
    this.#checkPositions("encode a context", contextIds.length);
    const context = ++this.#contexts;
    const ids = encodeInt32(contextIds);
    const task = { kind: "encode", context, ids, room, plan } as const;
    try {
      const results = await this.#team.run(task, { signal });
      return this.#keep({ context, tokens: contextIds.length }, results);
    } catch (error) {
      // The word that it is not wanted may have come when it was there.
      this.#free(context);
      throw error;
    }
  }

  async answer(
    encoded: Encoded,
    query: Pick<GenerateRequest, "queryIds" | "tokensToGenerate" | "stopIds" | "topLogits">,
    call: PhaseCall = {},
  ): Promise<Answer> {
    const known = this.#encoded.get(encoded);
    if (known === undefined) {
      throw new TypeError(
        "Cannot answer as 'encoded' must be a context of this model that is not disposed",
      );
    }
    const request = { ...query, contextIds: new Int32Array(0), sample: "query" };
    checkRequest(request, this.config);
    const { context, tokens } = known;
    this.#checkPositions("answer", tokens + query.queryIds.length + query.tokensToGenerate);
    const task = { kind: "answer", context, request: toWire(request) } as const;
    const results = await this.#team.run(task, call);
    return joinAnswers(results.flatMap(({ generated }) => generated ?? []));
  }

  async #checkPlan(options: PlanOptions): Promise<CheckedPlan> {
    const { config } = this;
    const model = { plan: this.#plan, folder: this.#folder, config };
    return await checkCallPlan(options, { ...model, action: "encode a context" });
  }

  #checkPositions(action: string, tokens: number): void {
    const { maxPositions } = this.config;
    if (tokens <= maxPositions) return;
    throw new RequestError(
      `Cannot ${action} as context, query and answer must have at most ${maxPositions} tokens ` +
        `(max_position_embeddings): current value is ${tokens}`,
    );
  }

  #keep(
    place: { readonly context: number; readonly tokens: number },
    results: readonly StarTypes["result"][],
  ): Encoded {
    const facts = results.flatMap((result) => result.encoded ?? []);
    const [first] = facts;
    invariant(first !== undefined, "a rank that encoded says what it did");
    const encoded: Encoded = {
      layout: first.layout,
      anchorPasses: facts.reduce((sum, { anchorPasses }) => sum + anchorPasses, 0),
      selected: facts.flatMap(({ selected }) => selected),
      [Symbol.dispose]: () => {
        if (this.#encoded.delete(encoded)) this.#free(place.context);
      },
    };
    this.#encoded.set(encoded, place);
    return encoded;
  }

  /** Frees a context behind whatever was asked before; with the team, all are freed anyhow. */
  #free(context: number): void {
    this.#team.run({ kind: "free", context }).catch(() => {});
  }

  [Symbol.dispose](): void {
    // It never fails.
    void this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#encoded.clear();
    await this.#team[Symbol.asyncDispose]();
  }
}
