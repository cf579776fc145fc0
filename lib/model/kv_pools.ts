/**
 * The keys and values of all layers of a rank: an arena for the layers of each window, as they keep
 * the same tokens of a sequence.
 *
 * Layers without a window keep all tokens. One with a window keeps those that some later token of the
 * sequence still sees, and what ops read beside them; a sequence's pages are moved along, a chunk or
 * more at a time. Ops are told the numbers of all tokens, so that they compute the same bits as with
 * all of them; what is gone is never read, as the window hides it.
 *
 * @module
 */
import { type KeyReader, readKeys } from "../attention/key_reader.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { LayerRange, Stage } from "../device/stages.ts";
import { invariant } from "../errors.ts";
import { type Growth, KvArena, type KvRun } from "./kv_cache.ts";
import { cacheBytes, type KvArenaOptions, type LayerCache } from "./layer_cache.ts";
import { PAGE_TOKENS } from "./kv_pages.ts";
import { type CodedMeans, keyCodes } from "../ops/key_codes.ts";
import { tileMeans } from "../ops/tile_means.ts";
import { layerPools, type ModelShape, poolNumbers } from "./model_shape.ts";

/** A number of tokens in each pool, in their order. */
export type PoolTokens = readonly number[];

/** Bytes of device memory that a sequence takes with so many tokens in each pool, in some layers. */
export function poolBytes(
  config: Pick<ModelShape, "kvHeads" | "headDim" | "layers">,
  options: {
    readonly tokens: PoolTokens;
    readonly dtype: KvArenaOptions["dtype"];
    /** As of `KvPools`. @default {false} */
    readonly hasMeans?: boolean;
    /** @default All layers. */
    readonly range?: LayerRange | undefined;
  },
): number {
  const { kvHeads, headDim } = config;
  const { dtype, range: { firstLayer, endLayer } = { firstLayer: 0, endLayer: Infinity } } =
    options;
  return layerPools(config).reduce((sum, pool, index) => {
    const layers = pool.layers.filter((layer) => layer >= firstLayer && layer < endLayer).length;
    const tokens = options.tokens[index] ?? 0;
    const hasMeans = options.hasMeans === true && pool.window === 0;
    return sum + cacheBytes({ kvHeads, headDim, dtype, layers, tokens, hasMeans });
  }, 0);
}

/** The arenas of all layers. */
export class KvPools implements Disposable {
  readonly #arenas: readonly KvArena[];
  readonly #poolOf: (layer: number) => number;

  /** Pools without a page: `reserve()` adds them. Where a window hides keys, none has means. */
  constructor(
    stages: readonly Stage[],
    options: KvArenaOptions & { config: Pick<ModelShape, "layers"> },
  ) {
    const { config } = options;
    this.#poolOf = poolNumbers(config);
    this.#arenas = layerPools(config).map(({ layers, window }) => {
      const own = new Set(layers);
      const hasMeans = options.hasMeans === true && window === 0;
      return new KvArena(stages, { ...options, hasMeans, has: (layer) => own.has(layer) });
    });
  }

  /** Goes up whenever tensors are others than before: what was recorded with them is void. */
  get version(): number {
    return this.#arenas.reduce((sum, { version }) => sum + version, 0);
  }

  /** Tokens that there are pages for, taken or not. */
  get capacity(): PoolTokens {
    return this.#arenas.map(({ capacity }) => capacity);
  }

  /** Tokens that the free pages are for; they need not lie together. */
  get freeTokens(): PoolTokens {
    return this.#arenas.map(({ freeTokens }) => freeTokens);
  }

  /** Which pool has a layer. */
  poolOf(layer: number): number {
    return this.#poolOf(layer);
  }

  /** One layer's tensors, of all sequences. */
  layer(index: number): LayerCache {
    return this.#arenaOf(index).layer(index);
  }

  /** All rows of one layer. */
  allRows(layer: number): KvSegment {
    const arena = this.#arenaOf(layer);
    return { ...arena.layer(layer), start: 0, tokens: arena.capacity };
  }

  /** The means of all pages of one layer; undefined where it has none. */
  allMeans(layer: number): CodedMeans | undefined {
    const { means } = this.layer(layer);
    return means && { ...means, start: 0, tokens: this.#arenaOf(layer).capacity / PAGE_TOKENS };
  }

  #arenaOf(layer: number): KvArena {
    const arena = this.#arenas[this.#poolOf(layer)];
    invariant(arena !== undefined, "every layer is in a pool");
    return arena;
  }

  /** What it would take to reserve runs of pages, one after the other: tokens in each pool. */
  growthFor(runs: readonly PoolTokens[]): Growth<PoolTokens> {
    const all = this.#arenas.map((arena, pool) =>
      arena.growthFor(runs.map((tokens) => tokens[pool] ?? 0))
    );
    return { tokens: all.map(({ tokens }) => tokens), moved: all.map(({ moved }) => moved) };
  }

  /**
   * Pages for a sequence, in every pool: see `KvArena.reserve()`.
   *
   * @param options `reaches`: so many tokens before the next one are kept, of each pool.
   * @throws {KernelError} If there is not enough memory; pools are longer at most.
   */
  async reserve(tokens: PoolTokens, options: { reaches: PoolTokens }): Promise<KvRows> {
    using owned = new DisposableStack();
    const runs: KvRun[] = [];
    for (const [pool, arena] of this.#arenas.entries()) {
      runs.push(owned.use(await arena.reserve(tokens[pool] ?? 0)));
    }
    owned.move();
    return new KvRows(runs, { poolOf: this.#poolOf, reaches: options.reaches });
  }

  /** Adds pages so that `tokens` more fit in one run of each pool. @throws As `reserve()`. */
  async prepare(tokens: PoolTokens): Promise<void> {
    for (const [pool, arena] of this.#arenas.entries()) await arena.prepare(tokens[pool] ?? 0);
  }

  /** Frees the memory; a second call does nothing. Sequences that are left have no keys any more. */
  [Symbol.dispose](): void {
    for (const arena of this.#arenas) arena[Symbol.dispose]();
  }
}

/** The pages of one sequence in all pools. Disposal gives them back. */
export class KvRows implements Disposable {
  readonly #runs: readonly KvRun[];
  readonly #poolOf: (layer: number) => number;
  readonly #reaches: PoolTokens;

  constructor(
    runs: readonly KvRun[],
    options: { poolOf: (layer: number) => number; reaches: PoolTokens },
  ) {
    this.#runs = runs;
    this.#poolOf = options.poolOf;
    this.#reaches = options.reaches;
  }

  /** Tells whether what is in them may not be finite when they are given back. */
  set isSuspect(isSuspect: boolean) {
    for (const run of this.#runs) run.isSuspect = isSuspect;
  }

  /** The pages that a layer's tokens are in. */
  runOf(layer: number): KvRun {
    const run = this.#runs[this.#poolOf(layer)];
    invariant(run !== undefined, "every layer is in a pool");
    return run;
  }

  /** A layer's tensors, of all sequences. */
  layer(index: number): LayerCache {
    return this.runOf(index).layer(index);
  }

  /** The tokens `start` to `start + tokens` of this sequence in one layer, gone or not. */
  segment(layer: number, rows: { start: number; tokens: number }): KvSegment {
    return this.runOf(layer).segment(layer, rows);
  }

  /** Where token 0 lies, or would lie, in the tensors of each pool. */
  get origins(): readonly number[] {
    return this.#runs.map(({ origin }) => origin);
  }

  /** Where token 0 lies in the tensors of the layers that have means; 0 if none has. */
  get pooledFrom(): number {
    const run = this.#runs.find(({ hasMeans }) => hasMeans);
    return run?.origin ?? 0;
  }

  /** The rows of the first tokens, in each pool: behind the one that `originOf` gives. */
  places(tokens: number, originOf: (run: KvRun) => number): readonly Int32Array[] {
    return this.#runs.map((run) => {
      const origin = originOf(run);
      return Int32Array.from({ length: tokens }, (_, token) => origin + token);
    });
  }

  /** The first token of a layer that is kept for those from `next` on. */
  firstFor(layer: number, next: number): number {
    return this.#firstFor(this.#poolOf(layer), next);
  }

  #firstFor(pool: number, next: number): number {
    const token = Math.max(0, next - (this.#reaches[pool] ?? Infinity));
    return Math.floor(token / PAGE_TOKENS) * PAGE_TOKENS;
  }

  /**
   * Makes room for tokens, by forgetting what they and all later ones do not see.
   *
   * @param options Tokens `from` to `end - 1` are to be written, those before are there. `next`: the
   * first one that sees any of them.
   * @default {options.next} The first that is written.
   */
  async makeRoom(options: { from: number; end: number; next?: number }): Promise<void> {
    const { from, end, next = from } = options;
    for (const [pool, run] of this.#runs.entries()) {
      if (run.hasRoom(end)) continue;
      await run.dropBefore(this.#firstFor(pool, next), { end: from });
      invariant(run.hasRoom(end), "a window's pages have room for a chunk");
    }
  }

  /**
   * Takes copies of another sequence's tokens, as far as later ones see them.
   *
   * @param options `end`: those before it. `next`: the first one that sees any of them.
   */
  async copyFrom(source: KvRows, options: { end: number; next: number }): Promise<void> {
    const { end, next } = options;
    for (const [pool, from] of source.#runs.entries()) {
      for (const layer of from.layers) {
        invariant(
          this.#firstOf(pool, { end, next }) >= from.dropped,
          "a context that is kept has all that a query sees",
        );
        await this.keepFrom(layer, {
          ...{ end, next },
          source: { ...from.layer(layer), start: from.origin },
        });
      }
    }
  }

  /**
   * Takes copies of a layer's tokens, as far as later ones see them.
   *
   * @param options `source`: where they are; `start` is the row of token 0, or would be. `end`: those
   * before it. `next`: the first one that sees any of them.
   */
  async keepFrom(
    layer: number,
    options: { source: LayerCache & { readonly start: number }; end: number; next: number },
  ): Promise<void> {
    const { source, end } = options;
    const run = this.runOf(layer);
    const first = this.#firstOf(this.#poolOf(layer), options);
    await run.dropBefore(first, { end: 0 });
    await run.copyFrom({ ...source, start: source.start + first }, { layer, first, end });
  }

  /** The first of the tokens before `end` that is kept, or the page that `end` is in. */
  #firstOf(pool: number, { end, next }: { end: number; next: number }): number {
    return Math.min(this.#firstFor(pool, next), Math.floor(end / PAGE_TOKENS) * PAGE_TOKENS);
  }

  /**
   * Makes the means of the first tiles and the codes of their keys, where there is room for them.
   *
   * @param reader Expands keys of 8 bits; absent where keys are read as they are.
   */
  async makeMeans(tiles: number, reader?: KeyReader): Promise<void> {
    for (const run of tiles > 0 ? this.#runs : []) {
      for (const layer of run.layers) {
        if (run.layer(layer).means === undefined) continue;
        const own = run.segment(layer, { start: 0, tokens: tiles * PAGE_TOKENS });
        const { keys } = await readKeys(reader, layer, { keys: own });
        const means = run.means(layer, tiles);
        await tileMeans(keys.keys.device, { means, keys });
        await keyCodes(keys.keys.device, { means, keys });
      }
    }
  }

  /** Overwrites the tokens from one on in all layers with zeros, behind the ops that were started. */
  async zeroFrom(token: number): Promise<void> {
    for (const run of this.#runs) await run.zeroFrom(token);
  }

  /** Gives the pages back; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const run of this.#runs) run[Symbol.dispose]();
  }
}
