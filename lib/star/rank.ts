/**
 * The model on one rank: loads it, and runs samples through both phases.
 *
 * @module
 */
import type { AttentionPlan } from "../attention/plan.ts";
import type { Collective } from "../collective/collective.ts";
import type { RankStatus } from "../collective/state.ts";
import { openCpuDevice } from "../device/cpu.ts";
import type { Device } from "../device/device.ts";
import { type LlamaConfig, readConfig } from "../model/config.ts";
import { type ComputeDType, Transformer } from "../model/forward.ts";
import { KvCache } from "../model/kv_cache.ts";
import { loadWeights, type ModelWeights } from "../model/weights.ts";
import { type BlockLayout, hostTokens, layOutBlocks } from "./blocks.ts";
import { encodeBlocks, type Phase1Result } from "./phase1.ts";
import { generate, stepTokens } from "./phase2.ts";
import type { GenerateRequest, RankCounters } from "./request.ts";

/** The longest chunk of tokens that runs through the layers at once. */
const CHUNK_TOKENS = 512;

/** What every rank is started with. */
export interface RankOptions {
  /** A folder in Hugging Face's format. */
  readonly modelFolder: string;
  readonly plan: AttentionPlan;
  readonly dtype: ComputeDType;
  /** Threads of this process. */
  readonly threads: number;
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

/** Told where a rank stands. */
export type RankProgress = (
  progress: { phase: "phase 1" | "phase 2"; fraction: number; generatedTokens: number },
) => void;

/** A loaded model with its device. */
export class RankModel implements Disposable {
  readonly config: LlamaConfig;
  /** One line for people. */
  readonly deviceDescription: string;
  readonly #device: Device;
  readonly #weights: ModelWeights;
  readonly #options: RankOptions;
  #transformer: Transformer;

  private constructor(
    options: RankOptions,
    parts: {
      config: LlamaConfig;
      device: Device;
      weights: ModelWeights;
      transformer: Transformer;
    },
  ) {
    this.#options = options;
    this.config = parts.config;
    this.#device = parts.device;
    this.#weights = parts.weights;
    this.#transformer = parts.transformer;
    this.deviceDescription = parts.device.description;
  }

  /**
   * Opens the device and the weights.
   *
   * @throws {FileError} If the model is missing or damaged.
   * @throws {DeviceError} If the kernel library or the device cannot be used.
   */
  static async load(options: RankOptions): Promise<RankModel> {
    const { modelFolder: folder, dtype } = options;
    const config = await readConfig(folder);
    using owned = new DisposableStack();
    const device = owned.use(await openCpuDevice({ threads: options.threads }));
    const weights = owned.use(await loadWeights(device, { folder, config, dtype }));
    const maxTokens = CHUNK_TOKENS;
    const transformer = new Transformer(device, { config, weights, dtype, maxTokens });
    owned.use(transformer);
    await transformer.prepare();
    owned.move();
    return new RankModel(options, { config, device, weights, transformer });
  }

  /**
   * Runs one sample; all ranks of the collective must run the same one.
   *
   * @throws {RangeError} If there is no query.
   * @throws {WorkerError} If another rank is lost.
   */
  async run(
    request: GenerateRequest,
    context: { collective: Collective; status: RankStatus; onProgress: RankProgress },
  ): Promise<RankResult> {
    checkRequest(request);
    const { collective, status, onProgress } = context;
    const { plan } = this.#options;
    const { rank, size: ranks } = collective;
    const layout = layOutBlocks(plan, { contextTokens: request.contextIds.length, ranks });
    const blocks = layout.hosts[rank] ?? [];
    const transformer = await this.#transformerFor(request);
    const report = (phase: "phase 1" | "phase 2", fraction: number, generatedTokens: number) => {
      status.advance();
      onProgress({ phase, fraction, generatedTokens });
    };
    using cache = this.#allocateCache(request, { layout, rank });
    const common = { device: this.#device, transformer, plan, layout, cache };

    status.enter("phase 1");
    const startMs = performance.now();
    using encoded = await encodeBlocks({
      ...common,
      blocks,
      contextIds: request.contextIds,
      cacheDtype: this.#options.dtype,
      onProgress: (fraction) => report("phase 1", fraction, 0),
    });
    const encodedMs = performance.now();

    status.enter("phase 2");
    const { ids, topLogits } = await generate({
      ...common,
      collective,
      cachedTokens: hostTokens(blocks),
      anchor: encoded.anchor,
      request,
      onLayer: () => status.advance(),
      onToken: (count) => report("phase 2", count / request.tokensToGenerate, count),
    });
    const selectedBlocks = encoded.selected.flatMap((layers) =>
      layers.map(({ taken, causal }) => [taken, causal] as const)
    );
    const counters = {
      ...countWork(encoded, { rank, blocks: blocks.length, blockTokens: hostTokens(blocks) }),
      prefillSeconds: (encodedMs - startMs) / 1000,
      decodeSeconds: (performance.now() - encodedMs) / 1000,
    };
    return { ids, topLogits, selectedBlocks, counters };
  }

  /** A transformer whose chunks are long enough for the sample's query. */
  async #transformerFor(request: GenerateRequest): Promise<Transformer> {
    const { plan, dtype } = this.#options;
    const queryTokens = request.queryIds.length;
    const needed = stepTokens({ plan, queryTokens, maxTokens: this.#transformer.maxTokens });
    if (needed <= this.#transformer.maxTokens) return this.#transformer;
    const larger = new Transformer(this.#device, {
      config: this.config,
      weights: this.#weights,
      dtype,
      maxTokens: needed,
    });
    this.#transformer[Symbol.dispose]();
    this.#transformer = larger;
    await larger.prepare();
    return larger;
  }

  #allocateCache(
    request: GenerateRequest,
    options: { layout: BlockLayout; rank: number },
  ): KvCache {
    const { layout, rank } = options;
    const { layerCount: layers, kvHeads, headDim } = this.config;
    const generated = request.queryIds.length + request.tokensToGenerate;
    return new KvCache(this.#device, {
      layers,
      kvHeads,
      headDim,
      capacity: hostTokens(layout.hosts[rank] ?? []) + (rank === layout.queryHost ? generated : 0),
      dtype: this.#options.dtype,
    });
  }

  /** Frees everything; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#transformer[Symbol.dispose]();
    this.#weights[Symbol.dispose]();
    this.#device[Symbol.dispose]();
  }
}

function checkRequest(request: GenerateRequest): void {
  const { queryIds, tokensToGenerate } = request;
  if (queryIds.length === 0) {
    throw new RangeError(
      `Cannot generate for sample ${request.sample} as its query must have a token: current value is 0`,
    );
  }
  if (!Number.isInteger(tokensToGenerate) || tokensToGenerate < 1) {
    throw new RangeError(
      `Cannot generate as 'tokensToGenerate' must be a whole number above 0: current value is ${tokensToGenerate}`,
    );
  }
}

function countWork(
  encoded: Phase1Result,
  own: { rank: number; blocks: number; blockTokens: number },
): Omit<RankCounters, "prefillSeconds" | "decodeSeconds"> {
  const counts = encoded.selected.flat();
  return {
    ...own,
    anchorPasses: encoded.anchorPasses,
    selectedBlocks: counts.reduce((sum, { taken }) => sum + taken, 0),
    causalBlocks: counts.reduce((sum, { causal }) => sum + causal, 0),
  };
}
