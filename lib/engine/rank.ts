/**
 * The model on one rank: loads it, and runs samples through both phases.
 *
 * @module
 */
import { RandomSelection } from "../attention/random_selection.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import { loadSelectModule } from "../attention/select_module.ts";
import type { TileRecords } from "../attention/tile_records.ts";
import type { Collective } from "../parallel/collective.ts";
import { type Device, DEVICE_TRAITS } from "../device/device.ts";
import { stagesOn } from "../device/stages.ts";
import { invariant, RequestError } from "../errors.ts";
import { Transformer } from "../model/forward.ts";
import { mayKeepWeights } from "../model/kept_weights.ts";
import type { KvPools } from "../model/kv_pools.ts";
import { BatchWidth, hostBudget, type SequenceSize } from "./batch_size.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { lengthsOf } from "../model/rope_frequencies.ts";
import { readModel } from "../model/read_model.ts";
import { loadWeights } from "../model/weights.ts";
import { layOutBlocks } from "../star/blocks.ts";
import { type Answer, type AnswerCall, decode, startAnswer } from "../star/decoder.ts";
import {
  copyContext,
  encodeContext,
  type EncodedContext,
  reserveSequence,
} from "../star/encode.ts";
import { NO_HOOKS, type RunHooks } from "./hooks.ts";
import { checkMemory, fitsOn } from "./memory_check.ts";
import { chunkTokensFor } from "./memory_plan.ts";
import { drawRandomTiles } from "../star/sequence_chunk.ts";
import { leastOf, openRankDevices } from "./rank_device.ts";
import { emptyPools, RankMemory } from "./rank_memory.ts";
import type { RankOptions, RankParts, RankPlace } from "./rank_types.ts";
import { checkRequest, type GenerateRequest } from "../star/request.ts";
import { queryChunk, Stepper } from "../star/step.ts";

export type { RankOptions, RankParts, RankPlace } from "./rank_types.ts";

/** A loaded model with its device. */
export class RankModel implements Disposable {
  readonly config: ModelShape;
  /** Of requests that bring none of their own. */
  readonly plan: CheckedPlan;
  /** How many sequences are decoded at once. */
  readonly batch: BatchWidth;
  /** One line for people. */
  readonly deviceDescription: string;
  readonly #devices: readonly Device[];
  readonly #parts: RankParts;
  readonly #owned: DisposableStack;
  readonly #randomTiles: RandomSelection | undefined;
  readonly #pools: KvPools;
  readonly #memory: RankMemory;
  #transformer: Transformer;
  #stepper: Stepper | undefined;

  private constructor(
    parts: RankParts,
    made: { transformer: Transformer; owned: DisposableStack },
  ) {
    const { config, stages, density, plan } = parts;
    const { transformer, owned } = made;
    this.#parts = parts;
    this.#owned = owned;
    this.config = config;
    this.plan = plan;
    this.batch = batchOf(parts);
    this.#devices = stages.map(({ device }) => device);
    this.#transformer = transformer;
    this.#pools = emptyPools(parts, { hasMeans: plan.decodeKeep !== undefined });
    this.#memory = new RankMemory(parts, this.#pools);
    this.#randomTiles = density === undefined
      ? undefined
      : new RandomSelection(this.#devices, density);
    this.deviceDescription = this.#devices.map(({ description }) => description).join(" and ");
  }

  /**
   * Opens the device and the weights.
   *
   * @param place Absent for a rank that is alone; all ranks of a group must load at the same time.
   * @throws {FileError} If the model is missing or damaged.
   * @throws {DeviceError} If the kernel library or the device cannot be used, or its memory is too
   * small.
   * @throws {WorkerError} If another rank is lost.
   */
  static async load(options: RankOptions, place?: RankPlace): Promise<RankModel> {
    const { modelFolder: folder, device: kind, precision, plan } = options;
    const config = await readModel(folder, options);
    const { select } = options;
    const hooks = select && await loadSelectModule(select);
    const { host, onProgress } = place ?? {};
    const contextTokens = options.expectedTokens ?? 0;
    const sizes = { config, precision, plan, ranks: host?.size ?? 1, contextTokens, room: 1 };
    const opened = await openRankDevices({
      kind,
      threads: options.threads,
      rowsSet: options.rowsSet,
      host,
      gpusPerRank: options.gpusPerRank,
      maxGpus: config.layerCount,
      isEnough: (devices, freeBytes) => fitsOn(devices, { question: sizes, freeBytes }),
    });
    using owned = new DisposableStack();
    for (const device of opened.devices) owned.use(device);
    const { devices, freeBytes, hasOwnGpus, dealtGpus } = opened;
    const stages = stagesOn(devices, config);
    const allowed = chunkTokensFor(DEVICE_TRAITS[kind], { config, precision, freeBytes });
    // Ranks exchange after each chunk of a query.
    const chunkTokens = host === undefined ? allowed : await leastOf(host, allowed);
    const question = { ...sizes, chunkTokens };
    checkMemory(devices, { question, freeBytes, loaded: false, dealtGpus });
    const isFirst = (host?.rank ?? 0) === 0 && (options.replica?.index ?? 0) === 0;
    const isWriter = isFirst && mayKeepWeights(folder);
    const kept = options.keepWeights === true ? { isWriter } : undefined;
    const weights = owned.use(
      await loadWeights(stages, { ...options, folder, config, kept, onProgress }),
    );
    const { batchSize } = options;
    const hostBytes = hostBudget(sizes.ranks * (options.replica?.count ?? 1));
    const base = { config, stages, weights, plan, precision, batchSize, hostBytes };
    const parts = { ...base, chunkTokens, hasOwnGpus, dealtGpus, hooks };
    const transformer = await prepareTransformer(parts);
    return new RankModel(parts, { transformer, owned: owned.move() });
  }

  /**
   * Makes a model of parts that the caller disposes of after it.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  static async assemble(parts: RankParts): Promise<RankModel> {
    const transformer = await prepareTransformer(parts);
    return new RankModel(parts, { transformer, owned: new DisposableStack() });
  }

  /** Sequences that are decoded at once, at most. */
  get batchSize(): number {
    return this.batch.places;
  }

  /** How many more sequences of a size may begin beside some: see `BatchWidth.left()`. */
  left(
    running: readonly SequenceSize[],
    next: {
      contextTokens: number;
      room: number;
      ranks: number;
      plan?: CheckedPlan | undefined;
    },
  ): number {
    const layout = layOutBlocks(next.plan ?? this.#parts.plan, next);
    return this.batch.left(running, { layout, room: next.room });
  }

  /** Whether steps run while the host goes on. */
  get runsAhead(): boolean {
    return this.#stepper?.runsAhead ?? false;
  }

  /** Where the layers lie, in their order. */
  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** The first one: all are of a kind. */
  get #device(): Device {
    const [device] = this.#devices;
    invariant(device !== undefined, "a model has a device");
    return device;
  }

  /** Whether every rank has GPUs of its own. */
  get hasOwnGpus(): boolean {
    return this.#parts.hasOwnGpus === true;
  }

  /**
   * Phase 1 of one rank: encodes its blocks.
   *
   * @param contextIds The whole context; its length is every rank's.
   * @param options `collective`: asked for rank and size; carries keys and values in mode ring, and
   * the anchor between GPUs. `room` in the query rank's cache, in tokens, for a query and what is
   * generated; `queryTokens` of it are the query's, as far as that is known: by default all.
   * `records` takes what is asked for of its tiles.
   * @throws {WorkerError} If another rank is lost.
   */
  async encode(
    contextIds: Int32Array,
    options: {
      collective: Collective;
      room: number;
      queryTokens?: number | undefined;
      /** Tokens that the pages have room for besides, for a longer query about the same context. */
      spareRoom?: number;
      /** Whether one query is all that will be asked: layers with windows keep less then. */
      isAskedOnce?: boolean;
      /** Contexts that are to be encoded besides, likely to be as long: their pages are made now. */
      others?: number;
      records?: TileRecords | undefined;
      /** In place of the model's, whose merge it has. */
      plan?: CheckedPlan | undefined;
      onProgress: (fraction: number) => void;
      hooks?: RunHooks;
    },
  ): Promise<EncodedContext> {
    const { collective, room, queryTokens, spareRoom = 0, records, others = 0 } = options;
    const { plan = this.#parts.plan } = options;
    const { isAskedOnce, onProgress, hooks = NO_HOOKS } = options;
    const { rank, size: ranks } = collective;
    const contextTokens = contextIds.length;
    const layout = layOutBlocks(plan, { contextTokens, ranks });
    const lengths = lengthsOf(contextTokens, options);
    const sequence = await hooks.agree(async () => {
      const { maxTokens: chunkTokens } = this.#transformer;
      const withCurves = records?.curves !== undefined;
      const sizes = { plan, contextTokens, ranks, rank, chunkTokens, isAskedOnce, withCurves };
      const withSpare = { ...sizes, room: room + spareRoom, queryTokens };
      this.#memory.check(withSpare);
      await this.#memory.makePages(1 + others, withSpare);
      this.#memory.prepareReader(withSpare);
      const place = { config: this.config, device: this.#device, layout, hasAnchor: true };
      const rooms = { room, spareRoom, lengths };
      return await reserveSequence(this.#pools, { ...sizes, ...place, ...rooms });
    });
    return await encodeContext(contextIds, {
      ...this.#parts,
      plan,
      transformer: this.#transformer,
      collective,
      ...{ sequence, reader: this.#memory.reader },
      randomTiles: this.#randomTiles,
      onProgress,
      records,
      turns: hooks,
    });
  }

  /**
   * Copies a context that is encoded, so that two queries can be asked about it at the same time.
   *
   * @param options As of `encode()`; the plan is the context's.
   * @throws {DeviceError} If there is not enough memory.
   */
  async copy(
    source: EncodedContext,
    options: {
      collective: Collective;
      room: number;
      queryTokens?: number | undefined;
      plan?: CheckedPlan | undefined;
      hooks?: RunHooks;
    },
  ): Promise<EncodedContext> {
    const { collective: { rank, size: ranks }, room, queryTokens, hooks = NO_HOOKS } = options;
    const { plan = this.#parts.plan } = options;
    const { layout, contextTokens } = source.sequence;
    const lengths = lengthsOf(contextTokens, options);
    const sequence = await hooks.agree(async () => {
      const { maxTokens: chunkTokens } = this.#transformer;
      const asked = { room, queryTokens, isAskedOnce: true };
      const sizes = { plan, contextTokens, ranks, rank, chunkTokens, ...asked };
      this.#memory.check(sizes);
      this.#memory.prepareReader(sizes);
      // What comes behind the context sees the anchor by its means alone.
      const place = { config: this.config, device: this.#device, layout, hasAnchor: false };
      return await reserveSequence(this.#pools, { ...sizes, ...place, lengths });
    });
    return await copyContext(source, { sequence, reader: this.#memory.reader });
  }

  /**
   * Encodes a query and takes the first token of its answer, which `decode()` goes on with.
   *
   * @throws {RequestError} If there is no query, or query and generated tokens exceed the room.
   * @throws {WorkerError} If another rank is lost.
   */
  async begin(
    encoded: EncodedContext,
    options: AnswerCall & { hooks?: RunHooks },
  ): Promise<Answer> {
    const { request, collective, onLayer, onToken, hooks = NO_HOOKS } = options;
    const { sequence } = encoded;
    checkRequest(request);
    const needed = request.queryIds.length + request.tokensToGenerate;
    if (needed > sequence.room) {
      throw new RequestError(
        `Cannot generate for sample ${request.sample} as query and generated tokens must be at ` +
          `most the ${sequence.room} that the cache has room for: current value is ${needed}`,
      );
    }
    await hooks.agree(() => this.#growFor(request));
    const stepper = this.#stepperFor(collective, onLayer);
    return await startAnswer(stepper, { sequence, request, onToken, turns: hooks });
  }

  /**
   * Generates for several answers together, until one of them is done: a token of each a step.
   *
   * @param answers None of them done; at most `batchSize`. All ranks must have the same ones.
   * @param options `maxSteps`: after so many steps it returns in any case.
   * @throws {WorkerError} If another rank is lost.
   */
  async decode(
    answers: readonly Answer[],
    options: { collective: Collective; onLayer: () => void; maxSteps: number },
  ): Promise<void> {
    const { collective, onLayer, maxSteps } = options;
    await decode(this.#stepperFor(collective, onLayer), answers, { maxSteps });
  }

  /**
   * Draws the tiles of a given density for a context ahead of its run; else does nothing.
   *
   * @param place Which of how many ranks this is.
   */
  async drawTiles(contextTokens: number, place: { rank: number; size: number }): Promise<void> {
    const { plan, config: { queryHeads } } = this.#parts;
    if (this.#randomTiles === undefined || plan.selection === undefined) return;
    const layout = layOutBlocks(plan, { contextTokens, ranks: place.size });
    const blocks = layout.blocksByRank[place.rank] ?? [];
    const { maxTokens } = this.#transformer;
    await drawRandomTiles(this.#randomTiles, {
      ...{ plan, layout, blocks, maxTokens, queryHeads },
      device: this.#device,
    });
  }

  /** Makes the transformer's chunks long enough for a query. */
  async #growFor(request: Pick<GenerateRequest, "queryIds">): Promise<undefined> {
    const { plan } = this.#parts;
    const queryTokens = request.queryIds.length;
    const needed = queryChunk({ plan, queryTokens, maxTokens: this.#transformer.maxTokens });
    if (needed <= this.#transformer.maxTokens) return;
    const prepare = (chunkTokens: number) => prepareTransformer({ ...this.#parts, chunkTokens });
    const { maxTokens } = this.#transformer;
    this.#stepper?.[Symbol.dispose]();
    this.#stepper = undefined;
    // Both at once would take more than the plan of memory has.
    this.#transformer[Symbol.dispose]();
    try {
      this.#transformer = await prepare(needed);
    } catch (error) {
      this.#transformer = await prepare(maxTokens);
      throw error;
    }
  }

  /** The steps of a group of ranks, kept from sample to sample. */
  #stepperFor(collective: Collective, onLayer: () => void): Stepper {
    if (this.#stepper?.madeWith.collective !== collective) {
      this.#stepper?.[Symbol.dispose]();
      this.#stepper = undefined;
    }
    this.#stepper ??= new Stepper({
      ...this.#parts,
      transformer: this.#transformer,
      ...{ pools: this.#pools, reader: this.#memory.reader },
      collective,
      maxRows: this.batchSize,
    });
    this.#stepper.onLayer = onLayer;
    return this.#stepper;
  }

  /** Frees everything; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#stepper?.[Symbol.dispose]();
    this.#pools[Symbol.dispose]();
    this.#memory[Symbol.dispose]();
    this.#transformer[Symbol.dispose]();
    this.#randomTiles?.[Symbol.dispose]();
    this.#owned.dispose();
  }
}

async function prepareTransformer(parts: RankParts): Promise<Transformer> {
  const { config, weights, precision, stages, chunkTokens: maxTokens } = parts;
  const { places: logitRows } = batchOf(parts);
  using owned = new DisposableStack();
  const transformer = owned.use(
    new Transformer(stages, { config, weights, precision, maxTokens, logitRows }),
  );
  await transformer.prepare();
  owned.move();
  return transformer;
}

/** All devices of a rank are of a kind. */
function batchOf(parts: RankParts): BatchWidth {
  const [first] = parts.stages;
  invariant(first !== undefined, "a model has a stage");
  return new BatchWidth(first.device, parts);
}
