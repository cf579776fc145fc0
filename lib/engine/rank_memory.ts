/**
 * The memory of a rank's sequences: refused before it is taken, and taken for several at once.
 *
 * @module
 */
import { KeyReader } from "../attention/key_reader.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import type { Device } from "../device/device.ts";
import { isScaled } from "../device/kv_segment.ts";
import { DeviceError, invariant } from "../errors.ts";
import { KvPools, poolBytes, type PoolTokens } from "../model/kv_pools.ts";
import { PAGE_TOKENS, pagesFor } from "../model/kv_pages.ts";
import { kvFormat } from "../model/precision.ts";
import { layOutBlocks } from "../star/blocks.ts";
import { keptTokens } from "../star/kept_tokens.ts";
import { checkMemory } from "./memory_check.ts";
import { segmentTokens } from "./memory_plan.ts";
import type { RankParts } from "./rank_types.ts";

/** How much of a context is to be kept, and by which of how many ranks. */
export interface SequenceSizes {
  readonly plan: CheckedPlan;
  readonly contextTokens: number;
  readonly room: number;
  /** As in `MemoryQuestion`. @default {room} */
  readonly queryTokens?: number | undefined;
  readonly ranks: number;
  readonly rank: number;
  /** The longest chunk. */
  readonly chunkTokens: number;
  /** Whether it is asked one query only: see `keptTokens()`. @default {false} */
  readonly isAskedOnce?: boolean | undefined;
  /** As in `MemoryQuestion`. @default {false} */
  readonly withCurves?: boolean | undefined;
}

/** The arenas for a rank's keys and values, without a page. */
export function emptyPools(
  { config, stages, precision }: RankParts,
  { hasMeans }: { hasMeans: boolean },
): KvPools {
  const { kvHeads, headDim } = config;
  const { dtype } = kvFormat(precision);
  return new KvPools(stages, { config, kvHeads, headDim, dtype, hasMeans });
}

/** Looks at memory for a rank; owns what sequences share besides their pages. */
export class RankMemory implements Disposable {
  /** Expands keys of 8 bits; absent where the cache has floats. */
  readonly reader: KeyReader | undefined;
  readonly #parts: RankParts;
  readonly #pools: KvPools;
  readonly #devices: readonly Device[];

  constructor(parts: RankParts, pools: KvPools) {
    this.#parts = parts;
    this.#pools = pools;
    this.#devices = parts.stages.map(({ device }) => device);
    const { config: { kvHeads, headDim }, precision, stages } = parts;
    const { dtype, readDtype } = kvFormat(precision);
    const sizes = { kvHeads, headDim, readDtype };
    for (const { cacheKinds, description } of this.#devices) {
      if (cacheKinds.includes(precision.cache)) continue;
      throw new DeviceError(
        `Cannot keep keys and values on ${description} as they must be ` +
          `${cacheKinds.join(" or ")}: current value is ${precision.cache}`,
      );
    }
    this.reader = isScaled(dtype) ? new KeyReader(stages, sizes) : undefined;
  }

  /**
   * Makes room for the expanded keys of a sequence of that size.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  prepareReader(sizes: SequenceSizes): void {
    const layout = layOutBlocks(sizes.plan, sizes);
    const blocks = layout.blocksByRank[sizes.rank] ?? [];
    this.reader?.prepare(segmentTokens(sizes.plan, { layout, kept: this.#keptOf(sizes), blocks }));
  }

  /** @throws {DeviceError} If the sequences of that size do not fit beside what is there. */
  check(sizes: SequenceSizes & { batchSize?: number }): void {
    const { config, precision, dealtGpus } = this.#parts;
    const { batchSize = 1 } = sizes;
    const freeBytes = this.#devices.flatMap((device) => device.freeBytes ?? []);
    const { tokens: growth, moved: movedTokens } = this.#pools.growthFor(this.#runsOf(sizes));
    if (freeBytes.length === 0) return this.#checkHost(growth);
    const reusableTokens = this.#tokensOf(sizes).map((tokens, pool) =>
      batchSize * tokens - (growth[pool] ?? 0)
    );
    const question = { ...sizes, config, precision, batchSize };
    const readerBytes = this.reader?.bytes;
    const there = { loaded: true, reusableTokens, movedTokens, readerBytes };
    checkMemory(this.#devices, { question, freeBytes, ...there, dealtGpus });
  }

  /** Tokens of each pool that are kept of a sequence and of its anchor. */
  #keptOf(sizes: SequenceSizes): { own: PoolTokens; anchor: PoolTokens } {
    const { config } = this.#parts;
    const [device] = this.#devices;
    invariant(device !== undefined, "a rank has a device");
    return keptTokens({ ...sizes, config, device, layout: layOutBlocks(sizes.plan, sizes) });
  }

  /** Tokens that the pages of a sequence and of its anchor, if it has one here, are for. */
  #tokensOf(sizes: SequenceSizes): PoolTokens {
    const { own, anchor } = this.#keptOf(sizes);
    return own.map((tokens, pool) => {
      const before = anchor[pool] ?? 0;
      return PAGE_TOKENS * (pagesFor(tokens) + (before === 0 ? 0 : pagesFor(before)));
    });
  }

  /** The runs of pages that sequences of a size begin with: one of all where `makePages()` makes it. */
  #runsOf(sizes: SequenceSizes & { batchSize?: number }): readonly PoolTokens[] {
    const { batchSize = 1 } = sizes;
    if (batchSize > 1 || this.#isEmpty) {
      return [this.#tokensOf(sizes).map((tokens) => batchSize * tokens)];
    }
    const { own, anchor } = this.#keptOf(sizes);
    return anchor.every((tokens) => tokens === 0) ? [own] : [own, anchor];
  }

  #bytesOf(tokens: PoolTokens): number {
    const { config, plan, precision } = this.#parts;
    const { dtype } = kvFormat(precision);
    return poolBytes(config, { dtype, tokens, hasMeans: plan.decodeKeep !== undefined });
  }

  /** Whether no sequence is there. */
  get #isEmpty(): boolean {
    return String(this.#pools.freeTokens) === String(this.#pools.capacity);
  }

  /** In the host's memory a sequence alone may take what it needs, several together only a share. */
  #checkHost(growth: PoolTokens): void {
    const { capacity } = this.#pools;
    const { hostBytes = Infinity } = this.#parts;
    const bytes = this.#bytesOf(capacity.map((tokens, pool) => tokens + (growth[pool] ?? 0)));
    if (growth.every((tokens) => tokens === 0) || bytes <= hostBytes || this.#isEmpty) return;
    const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
    throw new DeviceError(
      `Cannot keep another sequence as all keys and values together must take at most ` +
        `${gib(hostBytes)}, half of what was available: current value is ${gib(bytes)}`,
    );
  }

  /**
   * Where the pools have to grow, makes pages for several sequences of one size at once: growing for
   * each would move what is there again and again. As many as there is memory for.
   */
  async makePages(count: number, sizes: SequenceSizes): Promise<void> {
    const growth = this.#pools.growthFor(this.#runsOf(sizes));
    if (growth.tokens.every((tokens) => tokens === 0)) return;
    const tokens = this.#tokensOf(sizes);
    let batchSize = count;
    const { hostBytes = Infinity } = this.#parts;
    if (this.#devices[0]?.hasHostMemory) {
      batchSize = Math.min(batchSize, Math.floor(hostBytes / this.#bytesOf(tokens)));
    }
    while (batchSize > 1 && !this.#hasMemory({ ...sizes, batchSize })) batchSize--;
    // Also of one the own pages and the anchor's at once.
    if (batchSize > 1 || this.#isEmpty) {
      await this.#pools.prepare(tokens.map((each) => Math.max(1, batchSize) * each));
    }
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

  /** Frees what sequences share; a second call does nothing. */
  [Symbol.dispose](): void {
    this.reader?.[Symbol.dispose]();
  }
}
