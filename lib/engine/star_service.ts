/**
 * The scheduler of a rank: many samples at once, in steps that all ranks make alike.
 *
 * What comes first is begun first: as long as there is a place in the batch and there are pages, a step
 * encodes the next sample; else it is a token, or a few, of all samples that are under way. Between two
 * chunks of what is encoded the others get a token, too: a long prompt keeps nobody waiting for longer
 * than a chunk takes, and that token would have to be made anyway. Everything is decided from what all
 * ranks know (the order of requests, their ids and lengths), so that nobody has to be asked; only what
 * may fail on one rank, taking memory, and how many chunks the rank with most of them has, is agreed on.
 *
 * @module
 */
import { InvariantError, RequestError, WorkerError } from "../errors.ts";
import { lengthsOf } from "../model/rope_frequencies.ts";
import type { Collective } from "../parallel/collective.ts";
import type { EncodedContext } from "../star/encode.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import type { Sequence } from "../star/sequence.ts";
import { TileRecords } from "../attention/tile_records.ts";
import { checkRequest, type GenerateRequest } from "../star/request.ts";
import { CancelledError } from "../team/one_at_a_time.ts";
import { type RankContext, type RankService, RefusedError } from "../team/program.ts";
import { decodeInt32 } from "../team/protocol.ts";
import { gatherNumbers } from "../team/words.ts";
import type { RunHooks } from "./hooks.ts";
import type { RankModel } from "./rank.ts";
import { resultOf, type Running } from "./running.ts";
import { SharedContext, SPARE_ROOM } from "./shared_context.ts";
import { fromWire, type StarTask, type StarTypes } from "./wire.ts";

/** Steps between two looks at what has come, where a step can be started ahead of the last one. */
const STEPS_AHEAD = 8;

/** The service of a model on one rank. */
export class StarService implements RankService<StarTypes> {
  readonly ready: StarTypes["ready"];
  readonly #model: RankModel;
  readonly #collective: Collective;
  readonly #context: RankContext<StarTypes>;
  readonly #disposeModel: () => void;
  /** The context that the next prompts are likely to have, too. */
  readonly #shared: SharedContext;
  readonly #waiting: { readonly id: number; readonly task: StarTask }[] = [];
  #running: Running[] = [];
  /** Contexts that are kept, by the numbers that whoever asks has given them. */
  readonly #kept = new Map<number, EncodedContext>();
  /** What is encoded now, and whether it is to end. */
  #current: { readonly id: number; isEnding: boolean } | undefined;
  /** Whether what waits first has found no memory: it is tried again when a sample is done. */
  #isFull = false;
  /** What went wrong with those that are under way while another one was begun. */
  #fault: unknown;

  constructor(
    model: RankModel,
    parts: {
      ready: StarTypes["ready"];
      collective: Collective;
      context: RankContext<StarTypes>;
      /** Frees the model and what it works with. */
      dispose: () => void;
    },
  ) {
    this.#model = model;
    this.ready = parts.ready;
    this.#collective = parts.collective;
    this.#context = parts.context;
    this.#disposeModel = parts.dispose;
    this.#shared = new SharedContext(model.config);
  }

  get hasWork(): boolean {
    return this.#waiting.length > 0 || this.#running.length > 0;
  }

  submit(id: number, task: StarTask): void {
    if (task.kind === "stop") return this.#stop(id, task.key);
    this.#waiting.push({ id, task });
  }

  /** Ends an answer where it is: what it has so far is its result. */
  #stop(id: number, key: number): void {
    this.#running.find((running) => running.key === key)?.answer.stop();
    this.#context.desk.finish(id, {});
  }

  cancel(id: number): void {
    if (this.#current?.id === id) {
      this.#current.isEnding = true;
      return;
    }
    const waiting = this.#waiting.findIndex((task) => task.id === id);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    const running = this.#running.find((other) => other.id === id);
    if (running !== undefined) this.#remove(running);
    this.#context.desk.drop(id);
  }

  async step(): Promise<void> {
    this.#finish();
    const [first] = this.#waiting;
    if (first !== undefined && this.#canBegin(first.task)) {
      this.#waiting.shift();
      await this.#begin(first);
    } else if (this.#running.length > 0) {
      this.#context.status.enter("phase 2");
      await this.#decode(this.#model.runsAhead ? STEPS_AHEAD : 1);
    }
    this.#finish();
  }

  async #decode(maxSteps: number): Promise<void> {
    await this.#model.decode(this.#running.map(({ answer }) => answer), {
      collective: this.#collective,
      onLayer: () => this.#context.status.advance(),
      maxSteps,
    });
  }

  /** A token of all that are under way, in the midst of what is begun; the phase stays that one's. */
  async #stepOthers(): Promise<void> {
    // Some may have been stopped at the turn.
    this.#finish();
    if (this.#running.length === 0) return;
    try {
      await this.#decode(1);
    } catch (error) {
      this.#fault = error;
      throw error;
    }
    this.#finish();
  }

  /** Whether there is a place for what has waited longest. */
  #canBegin(task: StarTask): boolean {
    if (task.kind === "free") return true;
    if (this.#isFull || this.#model.batch.left(this.#sequences) === 0) return false;
    // A sequence has one answer at a time.
    return task.kind !== "answer" || !this.#running.some(({ kept }) => kept === task.context);
  }

  get #sequences(): Sequence[] {
    return this.#running.map(({ encoded }) => encoded.sequence);
  }

  /** Begins what has waited longest. */
  async #begin(first: { readonly id: number; readonly task: StarTask }): Promise<void> {
    const { id, task } = first;
    this.#current = { id, isEnding: false };
    try {
      await this.#do(id, task);
    } catch (error) {
      await this.#fail(first, error);
    } finally {
      this.#current = undefined;
    }
  }

  async #do(id: number, task: StarTask): Promise<void> {
    switch (task.kind) {
      case "generate":
        return await this.#generate(id, task);
      case "encode": {
        const { room, plan } = task;
        const encoded = await this.#encode(id, { ids: decodeInt32(task.ids), room, plan });
        // It may be freed without a question, which would show what is not finite.
        encoded.sequence.isSuspect = true;
        this.#kept.set(task.context, encoded);
        const { sequence: { layout }, phase1: { anchorPasses, selected } } = encoded;
        return this.#context.desk.finish(id, { encoded: { layout, anchorPasses, selected } });
      }
      case "answer": {
        const encoded = this.#kept.get(task.context);
        if (encoded === undefined) {
          throw new RequestError("Cannot answer as the context is not encoded");
        }
        const request = fromWire(task.request);
        const startMs = performance.now();
        const rest = { kept: task.context, key: undefined, records: undefined, isFresh: false };
        return await this.#answer(id, { request, encoded, startMs, ...rest });
      }
      case "free":
        this.#free(task.context);
        return this.#context.desk.finish(id, {});
    }
  }

  async #generate(id: number, task: Extract<StarTask, { kind: "generate" }>): Promise<void> {
    const request = fromWire(task.request);
    const startMs = performance.now();
    const { config, plan } = this.#model;
    const records = TileRecords.of(request, { config, plan: request.plan ?? plan });
    const { encoded, isOwned, isFresh } = await this.#contextOf(id, { request, records });
    using owned = new DisposableStack();
    if (isOwned) owned.use(encoded);
    const { key } = task;
    const rest = { kept: undefined, key, records, isFresh };
    await this.#answer(id, { request, encoded, startMs, ...rest });
    owned.move();
    const isShared = !isFresh || this.#shared.has(encoded);
    if (request.keepContext !== true) {
      if (isShared) this.#dispose(this.#shared.release());
    } else if (!isShared) {
      this.#dispose(this.#shared.keep(request, encoded));
    }
  }

  /** Encodes a request's context, or takes what is kept of it: itself, or a copy while it is in use. */
  async #contextOf(
    id: number,
    options: { request: GenerateRequest; records: TileRecords | undefined },
  ): Promise<{ encoded: EncodedContext; isOwned: boolean; isFresh: boolean }> {
    const { request, records } = options;
    const { contextIds: ids, queryIds: { length: queryTokens }, plan } = request;
    const room = queryTokens + request.tokensToGenerate;
    const lengths = lengthsOf(ids.length, { room, queryTokens });
    // Tiles are recorded while a context is encoded.
    const found = records === undefined ? this.#shared.find(request, lengths) : undefined;
    if (found === undefined) {
      const isAskedOnce = request.keepContext !== true;
      const spareRoom = isAskedOnce ? 0 : SPARE_ROOM;
      const sizes = { ids, room, spareRoom, isAskedOnce, queryTokens, records, plan };
      return { encoded: await this.#encode(id, sizes), isOwned: true, isFresh: true };
    }
    const isAsked = this.#running.some(({ encoded }) => encoded === found);
    if (!isAsked && found.sequence.reuse({ room, lengths })) {
      return { encoded: found, isOwned: false, isFresh: false };
    }
    const copied = await this.#model.copy(found, {
      ...{ collective: this.#collective, room, queryTokens, plan, hooks: this.#hooks(id) },
    });
    return { encoded: copied, isOwned: true, isFresh: false };
  }

  async #encode(
    id: number,
    options: {
      ids: Int32Array;
      room: number;
      spareRoom?: number;
      isAskedOnce?: boolean;
      queryTokens?: number;
      records?: TileRecords | undefined;
      plan?: CheckedPlan | undefined;
    },
  ): Promise<EncodedContext> {
    const { status, desk, size: ranks } = this.#context;
    const { ids: { length: contextTokens }, room, plan } = options;
    const left = this.#model.left(this.#sequences, { contextTokens, room, ranks, plan });
    status.enter("phase 1");
    return await this.#model.encode(options.ids, {
      collective: this.#collective,
      room: options.room,
      spareRoom: options.spareRoom ?? 0,
      isAskedOnce: options.isAskedOnce ?? false,
      queryTokens: options.queryTokens,
      records: options.records,
      plan,
      // Others are likely to be as long: pages are made for those that wait, and for as many as there
      // are, so that what is there is not moved for each of them.
      others: Math.min(Math.max(this.#waiting.length, this.#running.length), left - 1),
      onProgress: (fraction) => {
        status.advance();
        desk.progress(id, { phase: "phase 1", fraction, generatedTokens: 0 });
      },
      hooks: this.#hooks(id),
    });
  }

  async #answer(
    id: number,
    options: {
      request: GenerateRequest;
      encoded: EncodedContext;
      startMs: number;
      kept: number | undefined;
      key: number | undefined;
      records: TileRecords | undefined;
      isFresh: boolean;
    },
  ): Promise<void> {
    const { request, encoded } = options;
    const { status, desk } = this.#context;
    checkRequest(request, this.#model.config);
    const encodedMs = performance.now();
    status.enter("phase 2");
    const answer = await this.#model.begin(encoded, {
      request,
      collective: this.#collective,
      onLayer: () => status.advance(),
      onToken: (ids) => {
        const { length: generatedTokens } = ids;
        const fraction = generatedTokens / request.tokensToGenerate;
        const isAsked = options.key !== undefined && this.#context.rank === 0;
        const found = isAsked ? { ids: [...ids] } : {};
        desk.progress(id, { phase: "phase 2", fraction, generatedTokens, ...found });
      },
      hooks: this.#hooks(id),
    });
    this.#running.push({ ...options, id, answer, encodedMs });
  }

  #hooks(id: number): RunHooks {
    const { desk, collective } = this.#context;
    const turn = async (): Promise<void> => {
      await desk.turn();
      if (this.#current?.isEnding) throw new CancelledError({ isAgreed: true });
    };
    return {
      turn,
      pause: async () => {
        await turn();
        await this.#stepOthers();
      },
      agreeOnPauses: async (chunks) => {
        if (this.#running.length === 0) return 0;
        const counts = await gatherNumbers(collective, [chunks]);
        return Math.max(0, ...counts.flat().map((count) => count - 1));
      },
      checkpoint: () => {
        if (!desk.isCancelled(id)) return;
        throw new CancelledError({ isAgreed: this.#current?.isEnding === true });
      },
      agree: (prepare) => desk.agree(prepare),
    };
  }

  /** What becomes of a sample that could not be begun. */
  async #fail(
    first: { readonly id: number; readonly task: StarTask },
    error: unknown,
  ): Promise<void> {
    const { desk, size } = this.#context;
    const { id } = first;
    if (error instanceof CancelledError) {
      // The others learn it where they next look.
      if (!error.isAgreed) await desk.turn({ gaveUp: id });
      return desk.drop(id);
    }
    if (error instanceof RefusedError && this.#running.length > 0) {
      // There will be memory when one of those that run is done.
      this.#waiting.unshift(first);
      this.#isFull = true;
      return;
    }
    if (error instanceof RefusedError) {
      const shared = this.#shared.release();
      if (shared === undefined) return desk.refuse(id, error.reason);
      // There may be memory without what is kept in case it is asked about.
      this.#dispose(shared);
      this.#waiting.unshift(first);
      return;
    }
    const isOut = error instanceof WorkerError || error instanceof InvariantError;
    const isSurvived = error instanceof RequestError || size === 1 && !isOut;
    if (!isSurvived || !(error instanceof Error) || error === this.#fault) throw error;
    desk.refuse(id, error);
  }

  /** Reports what is done, and gives its pages back. */
  #finish(): void {
    for (const running of this.#running.filter(({ answer }) => answer.isDone)) {
      this.#remove(running);
      const { id, answer: { failure } } = running;
      if (failure !== undefined) this.#context.desk.refuse(id, failure);
      else this.#context.desk.finish(id, { generated: resultOf(running, this.#context.rank) });
    }
  }

  #remove(running: Running): void {
    this.#running = this.#running.filter((other) => other !== running);
    // A context that was freed meanwhile belongs to nobody else.
    const isKept = this.#shared.has(running.encoded) ||
      running.kept !== undefined && this.#kept.get(running.kept) === running.encoded;
    if (!isKept) running.encoded[Symbol.dispose]();
    this.#isFull = false;
  }

  #free(context: number): void {
    const encoded = this.#kept.get(context);
    this.#kept.delete(context);
    this.#dispose(encoded);
    this.#isFull = false;
  }

  /** Frees what nobody keeps any more; one that is being asked about is freed behind the answer. */
  #dispose(encoded: EncodedContext | undefined): void {
    const isAsked = this.#running.some((running) => running.encoded === encoded);
    if (!isAsked) encoded?.[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const { encoded } of this.#running) encoded[Symbol.dispose]();
    for (const encoded of this.#kept.values()) encoded[Symbol.dispose]();
    this.#shared.release()?.[Symbol.dispose]();
    this.#disposeModel();
  }
}
