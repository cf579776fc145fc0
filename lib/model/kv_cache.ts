/**
 * Keys and values of many sequences on one rank, of layers that keep the same tokens: an arena per
 * layer, in pages of 128 tokens. `kv_pools.ts` has the arenas of
 * all layers.
 *
 * A sequence has one contiguous run of pages, so that every kernel reads its keys as one segment. The
 * price: free pages that lie apart cannot be put together for a long sequence; then the arena grows.
 * A run may hold the latest tokens of a sequence alone: see `KvRun.dropBefore()`.
 *
 * What a page holds behind a sequence's last token must be finite: a GPU reads whole tiles and gives
 * such keys the weight 0, which NaN and infinity would outlive. Pages begin as zeros; those of a
 * sequence that may have others are zeroed before somebody else gets them.
 *
 * @module
 */
import { copyHeadRows, zeroHeadRows } from "../attention/head_rows.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Device } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import type { CodedMeans } from "../ops/key_codes.ts";
import {
  disposeLayer,
  type KvArenaOptions,
  type LayerCache,
  makeLayer,
  moveLayer,
  rowTensors,
} from "./layer_cache.ts";
import { PAGE_TOKENS, PageAllocator, type PageRun, pagesFor } from "./kv_pages.ts";

/** What an arena, or each of several pools, goes through for further sequences. */
export interface Growth<T> {
  /** Tokens that it grows by. */
  readonly tokens: T;
  /**
   * Tokens that are there when it grows while some sequence has pages: theirs lie twice meanwhile, of
   * one layer at a time.
   */
  readonly moved: T;
}

/** The pages of some layers; each layer's lie on the layer's device. */
export class KvArena implements Disposable {
  readonly #options: KvArenaOptions;
  /** The numbers of its layers, and where each lies. */
  readonly #places: readonly { readonly layer: number; readonly device: Device }[];
  #pages = new PageAllocator(0);
  readonly #layers = new Map<number, LayerCache>();
  /** Free pages that may hold what is not finite. */
  readonly #suspects = new Set<number>();
  #version = 0;
  #disposed = false;

  /**
   * An arena without a page: `reserve()` adds them.
   *
   * @param options `has`: whether a layer's keys are kept here; by default all are.
   */
  constructor(
    stages: readonly Stage[],
    options: KvArenaOptions & { has?: (layer: number) => boolean },
  ) {
    const { has = () => true } = options;
    this.#options = options;
    this.#places = stages.flatMap(({ device, firstLayer, endLayer }) =>
      Array.from({ length: endLayer - firstLayer }, (_, i) => ({ layer: firstLayer + i, device }))
    ).filter(({ layer }) => has(layer));
  }

  /** The numbers of its layers, in rising order. */
  get layers(): readonly number[] {
    return this.#places.map(({ layer }) => layer);
  }

  /** Whether pages have means. */
  get hasMeans(): boolean {
    return this.#options.hasMeans === true;
  }

  /** Tokens that it has pages for, taken or not. */
  get capacity(): number {
    return this.#pages.pageCount * PAGE_TOKENS;
  }

  /** Tokens that the free pages are for; they need not lie together. */
  get freeTokens(): number {
    return this.#pages.freeCount * PAGE_TOKENS;
  }

  /** Goes up whenever the tensors are others than before: what was recorded with them is void. */
  get version(): number {
    return this.#version;
  }

  /** One layer's tensors, of all sequences. */
  layer(index: number): LayerCache {
    const layer = this.#layers.get(index);
    invariant(layer !== undefined, `the arena has no layer ${index}, or no page yet`);
    return layer;
  }

  /** What it would take to reserve runs of some numbers of tokens, one after the other. */
  growthFor(runs: readonly number[]): Growth<number> {
    const pages = this.#pages.copy();
    let moved = 0;
    for (const count of runs.map(pagesFor)) {
      const missing = pages.missing(count);
      if (missing > 0 && pages.freeCount < pages.pageCount) moved = pages.pageCount * PAGE_TOKENS;
      if (missing > 0) pages.grow(missing);
      pages.take(count);
    }
    return { tokens: pages.pageCount * PAGE_TOKENS - this.capacity, moved };
  }

  /**
   * Pages for a sequence; the arena grows if none are free, which moves the keys of the others. All
   * numbers in them are finite.
   *
   * @throws {KernelError} If there is not enough memory; the arena is as it was.
   */
  async reserve(tokens: number): Promise<KvRun> {
    const count = pagesFor(tokens);
    const missing = this.#pages.missing(count);
    if (missing > 0) await this.#grow(missing);
    const run = this.#pages.take(count);
    invariant(run !== undefined, "an arena that has grown has a run of pages");
    using owned = new DisposableStack();
    const release = ({ isSuspect }: { isSuspect: boolean }) => this.#takeBack(run, isSuspect);
    const rows = owned.use(new KvRun(this, { run, release }));
    await this.#zeroSuspects(run, rows);
    owned.move();
    return rows;
  }

  #takeBack(run: PageRun, isSuspect: boolean): void {
    if (this.#disposed) return;
    this.#pages.give(run);
    if (!isSuspect) return;
    for (let page = run.first; page < run.first + run.count; page++) this.#suspects.add(page);
  }

  /** Zeroes those pages of a run that may hold what is not finite. */
  async #zeroSuspects(run: PageRun, rows: KvRun): Promise<void> {
    for (let page = 0; page < run.count; page++) {
      if (!this.#suspects.has(run.first + page)) continue;
      await rows.zero({ start: page * PAGE_TOKENS, tokens: PAGE_TOKENS });
      this.#suspects.delete(run.first + page);
    }
  }

  /** Adds pages so that `tokens` more fit in one run. @throws As `reserve()`. */
  async prepare(tokens: number): Promise<void> {
    const missing = this.#pages.missing(pagesFor(tokens));
    if (missing > 0) await this.#grow(missing);
  }

  async #grow(pages: number): Promise<void> {
    this.#version++;
    // What nobody needs is freed first, so that the most at once is what is there in the end.
    const isEmpty = this.#pages.freeCount === this.#pages.pageCount;
    if (isEmpty) this.#clear();
    try {
      await this.#makeLayers(this.capacity + pages * PAGE_TOKENS);
      this.#pages.grow(pages);
    } catch (error) {
      // Layers that were not reached keep their tensors; longer ones do no harm.
      if (isEmpty) {
        this.#clear();
        this.#pages = new PageAllocator(0);
      }
      throw error;
    }
  }

  #clear(): void {
    this.#layers.forEach(disposeLayer);
    this.#layers.clear();
    this.#suspects.clear();
  }

  /** Makes the layers anew, one after the other, with what was in them before. */
  async #makeLayers(rows: number): Promise<void> {
    for (const { layer, device } of this.#places) {
      using made = new DisposableStack();
      const now = makeLayer({ ...this.#options, rows }, (what, options) => {
        const label = `${what} of layer ${layer}`;
        return made.use(Tensor.allocate(device, { ...options, label }));
      });
      const old = this.#layers.get(layer);
      if (old !== undefined) {
        await moveLayer(now, old);
        disposeLayer(old);
      }
      made.move();
      this.#layers.set(layer, now);
    }
  }

  /** Frees the memory; a second call does nothing. Sequences that are left have no keys any more. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#clear();
  }
}

/**
 * The pages of one sequence in an arena. Disposal gives them back.
 *
 * Tokens are numbered from the sequence's first one on, whether it is still there or not.
 */
export class KvRun implements Disposable {
  /** The first row of its pages in the arena's tensors. */
  readonly first: number;
  /** Tokens that it has room for. */
  readonly capacity: number;
  /** Whether what is in them may not be finite when they are given back. */
  isSuspect = false;
  readonly #arena: KvArena;
  readonly #release: (state: { isSuspect: boolean }) => void;
  #dropped = 0;
  #disposed = false;

  constructor(
    arena: KvArena,
    options: { run: PageRun; release: (state: { isSuspect: boolean }) => void },
  ) {
    const { run, release } = options;
    this.#arena = arena;
    this.first = run.first * PAGE_TOKENS;
    this.capacity = run.count * PAGE_TOKENS;
    this.#release = release;
  }

  /** Tokens that are not kept any more, from the first one on. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Where token 0 lies, or would lie, in the arena's tensors: below 0 if it is not kept. */
  get origin(): number {
    return this.first - this.#dropped;
  }

  /** Whether its pages have means. */
  get hasMeans(): boolean {
    return this.#arena.hasMeans;
  }

  /** The numbers of the layers that it has tokens of. */
  get layers(): readonly number[] {
    return this.#arena.layers;
  }

  /** A layer's tensors, of all sequences of the arena. */
  layer(index: number): LayerCache {
    invariant(!this.#disposed, "a sequence that is freed has no keys");
    return this.#arena.layer(index);
  }

  /** The tokens `start` to `start + tokens` of this sequence in one layer. */
  segment(layer: number, rows: { start: number; tokens: number }): KvSegment {
    const { start, tokens } = rows;
    invariant(start + tokens <= this.#end, "a segment lies within its sequence's pages");
    const absent = Math.min(tokens, Math.max(0, this.#dropped - start));
    return { ...this.layer(layer), start: this.origin + start, tokens, absent };
  }

  /** The means of a layer's first pages; their numbers are those of the tokens' tiles. */
  means(layer: number, tiles: number): CodedMeans {
    const { means } = this.layer(layer);
    invariant(means !== undefined, "an arena has means if it was made for them");
    invariant(this.#dropped === 0, "means are of tokens that are all kept");
    return { ...means, start: this.first / PAGE_TOKENS, tokens: tiles };
  }

  /** The token behind the last one that there is room for. */
  get #end(): number {
    return this.#dropped + this.capacity;
  }

  /** Whether there is room for the tokens before `end`. */
  hasRoom(end: number): boolean {
    return end <= this.#end;
  }

  /**
   * Forgets the first tokens, so that there is room for as many at the end: moves the others to the
   * front, behind the ops that were started.
   *
   * @param first The first one that is kept.
   * @param options `end`: those before it are there.
   */
  async dropBefore(first: number, options: { end: number }): Promise<void> {
    const by = first - this.#dropped;
    if (by <= 0) return;
    const kept = options.end - first;
    for (const layer of kept > 0 ? this.#arena.layers : []) {
      const tensors = rowTensors(this.layer(layer));
      // Pieces that do not reach into what they replace.
      for (let start = 0; start < kept; start += by) {
        const at = this.first + start;
        for (const tensor of tensors) {
          await copyHeadRows(Math.min(by, kept - start), {
            out: { tensor, start: at },
            from: { tensor, start: at + by },
          });
        }
      }
    }
    this.#dropped = first;
  }

  /**
   * Takes copies of tokens from tensors that have them: keys and values of one layer.
   *
   * @param source Where they are; `start`: the row of token `first`.
   */
  async copyFrom(
    source: LayerCache & { readonly start: number },
    options: { layer: number; first: number; end: number },
  ): Promise<void> {
    const { layer, first, end } = options;
    const from = rowTensors(source);
    for (const [i, tensor] of rowTensors(this.layer(layer)).entries()) {
      const other = from[i];
      invariant(other !== undefined, "a copy is of what it is a copy of");
      await copyHeadRows(Math.max(0, end - first), {
        out: { tensor, start: this.origin + first },
        from: { tensor: other, start: source.start },
      });
    }
  }

  /** Overwrites tokens in all layers with zeros, behind the ops that were started. */
  async zero(rows: { start: number; tokens: number }): Promise<void> {
    const { start, tokens } = rows;
    for (const layer of this.#arena.layers) {
      for (const tensor of rowTensors(this.layer(layer))) {
        await zeroHeadRows(tokens, { tensor, start: this.origin + start });
      }
    }
  }

  /** Overwrites what lies behind a token, as far as the pages reach. */
  async zeroFrom(token: number): Promise<void> {
    await this.zero({ start: token, tokens: this.#end - token });
  }

  /** Gives the pages back; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#release(this);
  }
}
