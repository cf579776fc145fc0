/**
 * The memory of a rank's sequences: refused before it is taken, and taken for several at once.
 *
 * @module
 */
import type { CheckedPlan } from "../attention/plan.ts";
import type { Device } from "../device/device.ts";
import { DeviceError } from "../errors.ts";
import { cacheBytes, type KvArena } from "../model/kv_cache.ts";
import { PAGE_TOKENS, pagesFor } from "../model/kv_pages.ts";
import { layOutBlocks } from "../star/blocks.ts";
import { sequenceTokens } from "../star/sequence.ts";
import { checkMemory } from "./memory_plan.ts";
import type { RankParts } from "./rank_types.ts";

/** How much of a context is to be kept, and by which of how many ranks. */
export interface SequenceSizes {
  readonly plan: CheckedPlan;
  readonly contextTokens: number;
  readonly room: number;
  readonly ranks: number;
  readonly rank: number;
}

/** Looks at memory for a rank. */
export class RankMemory {
  readonly #parts: RankParts;
  readonly #arena: KvArena;
  readonly #devices: readonly Device[];

  constructor(parts: RankParts, arena: KvArena) {
    this.#parts = parts;
    this.#arena = arena;
    this.#devices = parts.stages.map(({ device }) => device);
  }

  /** @throws {DeviceError} If the sequences of that size do not fit beside what is there. */
  check(sizes: SequenceSizes & { batchSize?: number }): void {
    const { config, precision, chunkTokens, dealtGpus } = this.#parts;
    const { plan, contextTokens, room, ranks, batchSize = 1 } = sizes;
    const base = { config, precision, plan, chunkTokens, contextTokens, room, ranks };
    const freeBytes = this.#devices.flatMap((device) => device.freeBytes ?? []);
    const { own, anchor } = sequenceTokens(layOutBlocks(plan, sizes), sizes);
    const arena = this.#arena;
    if (freeBytes.length === 0) {
      return this.#checkHost(this.#growthFor(own, anchor));
    }
    const reusableTokens = batchSize > 1
      ? arena.freeTokens
      : own + anchor - this.#growthFor(own, anchor);
    const question = { ...base, batchSize };
    checkMemory(this.#devices, { question, freeBytes, loaded: true, reusableTokens, dealtGpus });
  }

  /** Tokens that the arena would grow by for a sequence and its anchor, if it has one here. */
  #growthFor(own: number, anchor: number): number {
    return this.#arena.growthFor(own) + (anchor === 0 ? 0 : this.#arena.growthFor(anchor));
  }

  /** In the host's memory a sequence alone may take what it needs, several together only a share. */
  #checkHost(moreTokens: number): void {
    const { config: { kvHeads, headDim, layerCount: layers }, precision } = this.#parts;
    const arena = this.#arena;
    const { hostBytes = Infinity } = this.#parts;
    const tokens = arena.capacity + moreTokens;
    const bytes = cacheBytes({ kvHeads, headDim, layers, tokens, dtype: precision.cache });
    if (moreTokens === 0 || bytes <= hostBytes || arena.freeTokens === arena.capacity) return;
    const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
    throw new DeviceError(
      `Cannot keep another sequence as all keys and values together must take at most ` +
        `${gib(hostBytes)}, half of what was available: current value is ${gib(bytes)}`,
    );
  }

  /**
   * Where the arena has to grow, makes pages for several sequences of one size at once: growing for
   * each would move what is there again and again. As many as there is memory for.
   */
  async makePages(count: number, sizes: SequenceSizes): Promise<void> {
    const arena = this.#arena;
    const { own, anchor } = sequenceTokens(layOutBlocks(sizes.plan, sizes), sizes);
    if (this.#growthFor(own, anchor) === 0) return;
    const pages = pagesFor(own) + (anchor === 0 ? 0 : pagesFor(anchor));
    let batchSize = count;
    const { hostBytes = Infinity } = this.#parts;
    const { kvHeads, headDim, layerCount: layers } = this.#parts.config;
    const bytes = cacheBytes({
      ...{ kvHeads, headDim, layers, dtype: this.#parts.precision.cache },
      tokens: pages * PAGE_TOKENS,
    });
    if (this.#devices[0]?.hasHostMemory) {
      batchSize = Math.min(batchSize, Math.floor(hostBytes / bytes));
    }
    while (batchSize > 1 && !this.#hasMemory({ ...sizes, batchSize })) batchSize--;
    if (batchSize > 1) await arena.prepare(batchSize * pages * PAGE_TOKENS);
  }

  #hasMemory(sizes: SequenceSizes & { batchSize: number }): boolean {
    try {
      this.check(sizes);
      return true;
    } catch (error) {
      if (error instanceof DeviceError) return false;
      throw error;
    }
  }
}
