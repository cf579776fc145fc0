/**
 * The model on one rank: loads it, and runs samples through both phases.
 *
 * @module
 */
import { ForcedSelection } from "../attention/forced_selection.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import type { Collective } from "../parallel/collective.ts";
import type { RankStatus } from "../parallel/state.ts";
import { type Device, DEVICE_TRAITS } from "../device/device.ts";
import type { DeviceKind } from "../device/open.ts";
import { type Stage, stagesOn } from "../device/stages.ts";
import { RequestError } from "../errors.ts";
import { Transformer } from "../model/forward.ts";
import { KvCache } from "../model/kv_cache.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { Precision } from "../model/precision.ts";
import { readModel } from "../model/read_model.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import { loadWeights } from "../model/weights.ts";
import { type BlockLayout, type ContextBlock, hostTokens, layOutBlocks } from "../star/blocks.ts";
import { connectDevices } from "./exchange.ts";
import { checkMemory, chunkTokensFor, fitsOn } from "./memory_plan.ts";
import { countWork, drawForcedBlocks, encodeBlocks, type Phase1Result } from "../star/phase1.ts";
import { generate, type Phase2Result, stepTokens } from "../star/phase2.ts";
import { openRankDevices } from "./rank_device.ts";
import { checkRequest, type GenerateRequest, type RankCounters } from "../star/request.ts";
import { encodePart, ringCapacity } from "../star/ring.ts";

/** What every rank is started with. */
export interface RankOptions {
  /** A folder in Hugging Face's format. */
  readonly modelFolder: string;
  readonly plan: CheckedPlan;
  readonly device: DeviceKind;
  readonly precision: Precision;
  /** Threads of this process. */
  readonly threads: number;
  /**
   * GPUs of each rank that its layers are spread over; by default the fewest that the weights and
   * the expected prompt fit on.
   */
  readonly gpusPerRank?: number | undefined;
  /** The longest prompt and answer that are to come: what cannot fit is refused before loading. */
  readonly expectedTokens?: number | undefined;
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
  /** Share of the blocks that sparse modes take in place of those that the mass selects. */
  readonly forcedDensity?: number | undefined;
  /** The longest chunk of tokens that runs through the layers at once. */
  readonly chunkTokens: number;
  /** Whether every rank has GPUs of its own. */
  readonly hasOwnGpus?: boolean;
  /** GPUs that the layers could be spread over. */
  readonly dealtGpus?: number;
}

/** What one rank found. */
export interface RankResult {
  readonly ids: readonly number[];
  /** Only from the query host. */
  readonly topLogits: readonly (readonly [number, number])[];
  /** As in `GenerateResult`, for this rank's blocks. */
  readonly selectedBlocks: readonly (readonly [number, number])[];
  readonly counters: RankCounters;
}

/** A context as one host keeps it after phase 1. */
export interface EncodedContext extends Disposable {
  readonly layout: BlockLayout;
  /** The blocks of this host. */
  readonly blocks: readonly ContextBlock[];
  readonly contextTokens: number;
  /** Tokens for which the query host's cache has room behind the context. */
  readonly room: number;
  readonly cache: KvCache;
  readonly phase1: Phase1Result;
}

/** Told where a rank stands. */
export type RankProgress = (
  progress: { phase: "phase 1" | "phase 2"; fraction: number; generatedTokens: number },
) => void;

/** A loaded model with its device. */
export class RankModel implements Disposable {
  readonly config: ModelShape;
  /** One line for people. */
  readonly deviceDescription: string;
  readonly #stages: readonly Stage[];
  readonly #devices: readonly Device[];
  readonly #parts: RankParts;
  readonly #owned: DisposableStack;
  readonly #forced: ForcedSelection | undefined;
  #transformer: Transformer;

  private constructor(
    parts: RankParts,
    made: { transformer: Transformer; owned: DisposableStack },
  ) {
    const { config, stages, forcedDensity } = parts;
    const { transformer, owned } = made;
    this.#parts = parts;
    this.#owned = owned;
    this.config = config;
    this.#stages = stages;
    this.#devices = stages.map(({ device }) => device);
    this.#transformer = transformer;
    this.#forced = forcedDensity === undefined
      ? undefined
      : new ForcedSelection(this.#devices, forcedDensity);
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
    const config = await readModel(folder);
    const { host, onProgress } = place ?? {};
    const contextTokens = options.expectedTokens ?? 0;
    const sizes = { config, precision, plan, ranks: host?.size ?? 1, contextTokens, room: 1 };
    const opened = await openRankDevices({
      kind,
      threads: options.threads,
      host,
      gpusPerRank: options.gpusPerRank,
      maxGpus: config.layerCount,
      isEnough: (devices, freeBytes) => fitsOn(devices, { question: sizes, freeBytes }),
    });
    using owned = new DisposableStack();
    for (const device of opened.devices) owned.use(device);
    const { devices, freeBytes, hasOwnGpus, dealtGpus } = opened;
    const stages = stagesOn(devices, config);
    const chunkTokens = chunkTokensFor(DEVICE_TRAITS[kind], { config, precision, freeBytes });
    const question = { ...sizes, chunkTokens };
    checkMemory(devices, { question, freeBytes, loaded: false, dealtGpus });
    const weights = owned.use(
      await loadWeights(stages, { ...options, folder, config, onProgress }),
    );
    const parts = { config, stages, weights, plan, precision, chunkTokens, hasOwnGpus, dealtGpus };
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

  /**
   * The exchange for this model's device: over NCCL between GPUs, else as it is. All ranks must call
   * it at the same time.
   *
   * @param host Exchanges host memory among the same ranks; disposed of with the result.
   * @throws {DeviceError} If NCCL cannot be opened.
   * @throws {WorkerError} If a rank is lost.
   */
  async connect(host: Collective, options: { timeoutMs: number }): Promise<Collective> {
    const hasOwnGpus = this.#parts.hasOwnGpus === true;
    return await connectDevices(this.#devices, { host, hasOwnGpus, ...options });
  }

  /**
   * Runs one sample; all ranks of the collective must run the same one.
   *
   * @throws {RequestError} If there is no query.
   * @throws {WorkerError} If another rank is lost.
   */
  async run(
    request: GenerateRequest,
    context: { collective: Collective; status: RankStatus; onProgress: RankProgress },
  ): Promise<RankResult> {
    checkRequest(request);
    const { collective, status, onProgress } = context;
    const { rank } = collective;
    const report = (phase: "phase 1" | "phase 2", fraction: number, generatedTokens: number) => {
      status.advance();
      onProgress({ phase, fraction, generatedTokens });
    };
    const startMs = performance.now();
    status.enter("phase 1");
    using encoded = await this.encode(request.contextIds, {
      collective,
      room: request.queryIds.length + request.tokensToGenerate,
      onProgress: (fraction) => report("phase 1", fraction, 0),
    });
    const encodedMs = performance.now();
    status.enter("phase 2");
    const { ids, topLogits } = await this.answer(encoded, {
      request,
      collective,
      onLayer: () => status.advance(),
      onToken: (count) => report("phase 2", count / request.tokensToGenerate, count),
    });
    const { phase1, blocks } = encoded;
    const selectedBlocks = phase1.selected.flatMap((layers) =>
      layers.map(({ taken, causal }) => [taken, causal] as const)
    );
    const counters = {
      ...countWork(phase1, { rank, blocks: blocks.length, blockTokens: hostTokens(blocks) }),
      prefillSeconds: (encodedMs - startMs) / 1000,
      decodeSeconds: (performance.now() - encodedMs) / 1000,
    };
    return { ids, topLogits, selectedBlocks, counters };
  }

  /**
   * Phase 1 of one host: encodes its blocks.
   *
   * @param contextIds The whole context; its length is every host's.
   * @param options `collective`: asked for rank and size; carries keys and values in mode ring, and
   * the anchor between GPUs. `room` in the query host's cache, in tokens, for a query and what is
   * generated.
   * @throws {WorkerError} If another rank is lost.
   */
  async encode(
    contextIds: Int32Array,
    options: {
      collective: Collective;
      room: number;
      onProgress: (fraction: number) => void;
    },
  ): Promise<EncodedContext> {
    const { collective, room, onProgress } = options;
    const { rank, size: ranks } = collective;
    const { plan, precision } = this.#parts;
    const layout = layOutBlocks(plan, { contextTokens: contextIds.length, ranks });
    const isRing = plan.cut.kind === "parts";
    const blocks = layout.hosts[rank] ?? [];
    const { kvHeads, headDim } = this.config;
    const capacity = isRing
      ? ringCapacity(layout, { room })
      : hostTokens(blocks) + (rank === layout.queryHost ? room : 0);
    this.#checkMemory({ contextTokens: contextIds.length, room, ranks });
    using owned = new DisposableStack();
    const cache = owned.use(
      new KvCache(this.#stages, { kvHeads, headDim, capacity, dtype: precision.cache }),
    );
    const common = { stages: this.#stages, layout, cache, contextIds, onProgress };
    const phase1 = owned.use(
      isRing
        ? await encodePart({ ...this.#parts, ...common, collective, forced: this.#forced })
        : await encodeBlocks({
          ...common,
          transformer: this.#transformer,
          weights: this.#parts.weights,
          collective,
          plan,
          blocks,
          precision,
          forced: this.#forced,
        }),
    );
    // Whoever measures phase 1 wants its end, not that of its start.
    for (const device of this.#devices) await device.kernels.idle();
    const memory = owned.move();
    const contextTokens = contextIds.length;
    return {
      layout,
      blocks,
      contextTokens,
      room,
      cache,
      phase1,
      [Symbol.dispose]: () => memory[Symbol.dispose](),
    };
  }

  /**
   * Phase 2 of one host: encodes the query and generates. The context stays encoded: a later call
   * answers another query about it.
   *
   * @throws {RequestError} If there is no query, or query and generated tokens exceed the room.
   * @throws {WorkerError} If another rank is lost.
   */
  async answer(
    encoded: EncodedContext,
    options: {
      request: Omit<GenerateRequest, "contextIds">;
      collective: Collective;
      onLayer: () => void;
      onToken: (count: number) => void;
    },
  ): Promise<Phase2Result> {
    const { request } = options;
    checkRequest(request);
    const needed = request.queryIds.length + request.tokensToGenerate;
    if (needed > encoded.room) {
      throw new RequestError(
        `Cannot generate for sample ${request.sample} as query and generated tokens must be at ` +
          `most the ${encoded.room} that the cache has room for: current value is ${needed}`,
      );
    }
    return await generate({
      ...options,
      stages: this.#stages,
      transformer: await this.#transformerFor(request),
      plan: this.#parts.plan,
      layout: encoded.layout,
      contextTokens: encoded.contextTokens,
      cache: encoded.cache,
      cachedTokens: hostTokens(encoded.blocks),
      anchor: encoded.phase1.anchor,
    });
  }

  /**
   * Draws the blocks of a forced density for a context ahead of its run; else does nothing.
   *
   * @param host Which of how many hosts this is.
   */
  async drawBlocks(contextTokens: number, host: { rank: number; size: number }): Promise<void> {
    const { plan, config: { queryHeads } } = this.#parts;
    if (this.#forced === undefined || plan.selection === undefined) return;
    const layout = layOutBlocks(plan, { contextTokens, ranks: host.size });
    const blocks = layout.hosts[host.rank] ?? [];
    const { maxTokens } = this.#transformer;
    const [device] = this.#devices;
    if (device === undefined) return;
    await drawForcedBlocks(this.#forced, { plan, layout, blocks, device, maxTokens, queryHeads });
  }

  #checkMemory(sizes: { contextTokens: number; room: number; ranks: number }): void {
    const { config, precision, plan, chunkTokens, dealtGpus } = this.#parts;
    const question = { config, precision, plan, chunkTokens, ...sizes };
    const freeBytes = this.#devices.flatMap((device) => device.freeBytes ?? []);
    if (freeBytes.length === 0) return;
    checkMemory(this.#devices, { question, freeBytes, loaded: true, dealtGpus });
  }

  /** A transformer whose chunks are long enough for the sample's query. */
  async #transformerFor(request: Omit<GenerateRequest, "contextIds">): Promise<Transformer> {
    const { plan, precision } = this.#parts;
    const queryTokens = request.queryIds.length;
    const needed = stepTokens({ plan, queryTokens, maxTokens: this.#transformer.maxTokens });
    if (needed <= this.#transformer.maxTokens) return this.#transformer;
    const larger = new Transformer(this.#stages, {
      config: this.config,
      weights: this.#parts.weights,
      precision,
      maxTokens: needed,
    });
    this.#transformer[Symbol.dispose]();
    this.#transformer = larger;
    await larger.prepare();
    return larger;
  }

  /** Frees everything; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#transformer[Symbol.dispose]();
    this.#forced?.[Symbol.dispose]();
    this.#owned.dispose();
  }
}

async function prepareTransformer(parts: RankParts): Promise<Transformer> {
  const { config, weights, precision, stages, chunkTokens: maxTokens } = parts;
  using owned = new DisposableStack();
  const transformer = owned.use(new Transformer(stages, { config, weights, precision, maxTokens }));
  await transformer.prepare();
  owned.move();
  return transformer;
}
