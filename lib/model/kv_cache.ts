/**
 * Keys and values of many sequences on one rank: an arena per layer, in pages of 128 tokens.
 *
 * A sequence has one contiguous run of pages, so that every kernel reads its keys as one segment. The
 * price: free pages that lie apart cannot be put together for a long sequence; then the arena grows.
 *
 * What a page holds behind a sequence's last token must be finite: a GPU reads whole tiles and gives
 * such keys the weight 0, which NaN and infinity would outlive. Pages begin as zeros; those of a
 * sequence that may have others are zeroed before somebody else gets them.
 *
 * @module
 */
import { copyHeadRows, zeroHeadRows } from "../attention/head_rows.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { PAGE_TOKENS, PageAllocator, type PageRun, pagesFor } from "./kv_pages.ts";

/** The sizes of a token's keys and values, per layer. */
export interface KvArenaOptions {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: "bf16" | "f32";
}

/** Keys and values of one layer: [kv_heads, rows, head_dim] each, a row for each token. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Bytes of device memory that `tokens` tokens of one sequence take in some layers. */
export function cacheBytes(
  options: KvArenaOptions & { readonly tokens: number; readonly layers: number },
): number {
  const { kvHeads, headDim, dtype, tokens, layers } = options;
  if (tokens === 0) return 0;
  const shape = [kvHeads, pagesFor(tokens) * PAGE_TOKENS, headDim];
  return 2 * layers * workspaceBytes([{ dtype, shape }]);
}

/** The pages of all layers; each layer's lie on the layer's device. */
export class KvArena implements Disposable {
  readonly #stages: readonly Stage[];
  readonly #options: KvArenaOptions;
  #pages = new PageAllocator(0);
  readonly #layers: LayerCache[] = [];
  /** Free pages that may hold what is not finite. */
  readonly #suspects = new Set<number>();
  #version = 0;
  #disposed = false;

  /** An arena without a page: `reserve()` adds them. */
  constructor(stages: readonly Stage[], options: KvArenaOptions) {
    this.#stages = stages;
    this.#options = options;
  }

  /** Layers that there are; none before the first page. */
  get layerCount(): number {
    return this.#layers.length;
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
    const layer = this.#layers[index];
    invariant(layer !== undefined, `the arena has no layer ${index}, or no page yet`);
    return layer;
  }

  /** How many tokens the arena would grow by to take a sequence of `tokens` more. */
  growthFor(tokens: number): number {
    return this.#pages.missing(pagesFor(tokens)) * PAGE_TOKENS;
  }

  /**
   * Pages for a sequence; the arena grows if none are free, which moves the keys of the others. All
   * numbers in them are finite.
   *
   * @throws {KernelError} If there is not enough memory; the arena is as it was.
   */
  async reserve(tokens: number): Promise<KvRows> {
    const count = pagesFor(tokens);
    const missing = this.#pages.missing(count);
    if (missing > 0) await this.#grow(missing);
    const run = this.#pages.take(count);
    invariant(run !== undefined, "an arena that has grown has a run of pages");
    using owned = new DisposableStack();
    const release = ({ isSuspect }: { isSuspect: boolean }) => this.#takeBack(run, isSuspect);
    const rows = owned.use(new KvRows(this, { run, release }));
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
  async #zeroSuspects(run: PageRun, rows: KvRows): Promise<void> {
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
    const before = this.#layers.splice(0);
    this.#version++;
    // What nobody needs is freed first, so that the most at once is what is there in the end.
    if (this.#pages.freeCount === this.#pages.pageCount) {
      before.splice(0).forEach(disposeLayer);
      this.#suspects.clear();
    }
    try {
      await this.#makeLayers(this.capacity + pages * PAGE_TOKENS, before);
      this.#pages.grow(pages);
    } catch (error) {
      // Layers that were not reached keep their tensors; longer ones do no harm.
      this.#layers.push(...before.slice(this.#layers.length));
      if (before.length === 0) {
        this.#layers.splice(0).forEach(disposeLayer);
        this.#pages = new PageAllocator(0);
      }
      throw error;
    }
  }

  /** Makes the layers anew, one after the other, with what was in them before. */
  async #makeLayers(rows: number, before: readonly LayerCache[]): Promise<void> {
    const { dtype, kvHeads, headDim } = this.#options;
    for (const { device, firstLayer, endLayer } of this.#stages) {
      for (let layer = firstLayer; layer < endLayer; layer++) {
        const make = (what: string) =>
          Tensor.allocate(device, {
            dtype,
            shape: [kvHeads, rows, headDim],
            label: `${what} of layer ${layer}`,
          });
        using made = new DisposableStack();
        const now = { keys: made.use(make("keys")), values: made.use(make("values")) };
        const old = before[layer];
        if (old !== undefined) {
          await moveRows(now.keys, old.keys);
          await moveRows(now.values, old.values);
          disposeLayer(old);
        }
        made.move();
        this.#layers.push(now);
      }
    }
  }

  /** Frees the memory; a second call does nothing. Sequences that are left have no keys any more. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#layers.splice(0).forEach(disposeLayer);
  }
}

function disposeLayer({ keys, values }: LayerCache): void {
  keys[Symbol.dispose]();
  values[Symbol.dispose]();
}

/** Copies all rows of each head to the first rows of a longer tensor. */
async function moveRows(out: Tensor, from: Tensor): Promise<void> {
  const [, rows = 0] = from.shape;
  await copyHeadRows(rows, { out: { tensor: out, start: 0 }, from: { tensor: from, start: 0 } });
}

/** The pages of one sequence. Disposal gives them back. */
export class KvRows implements Disposable {
  /** The number of its first row in the arena's tensors. */
  readonly first: number;
  /** Tokens that it has room for. */
  readonly capacity: number;
  /** Whether what is in them may not be finite when they are given back. */
  isSuspect = false;
  readonly #arena: KvArena;
  readonly #release: (state: { isSuspect: boolean }) => void;
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

  /** A layer's tensors, of all sequences of the arena. */
  layer(index: number): LayerCache {
    invariant(!this.#disposed, "a sequence that is freed has no keys");
    return this.#arena.layer(index);
  }

  /** The tokens `start` to `start + tokens` of this sequence in one layer. */
  segment(layer: number, rows: { start: number; tokens: number }): KvSegment {
    const { start, tokens } = rows;
    invariant(start + tokens <= this.capacity, "a segment lies within its sequence's pages");
    return { ...this.layer(layer), start: this.first + start, tokens };
  }

  /** Overwrites tokens in all layers with zeros, behind the ops that were started. */
  async zero(rows: { start: number; tokens: number }): Promise<void> {
    const { start, tokens } = rows;
    for (let layer = 0; layer < this.#arena.layerCount; layer++) {
      const { keys, values } = this.segment(layer, { start, tokens });
      for (const tensor of [keys, values]) {
        await zeroHeadRows(tokens, { tensor, start: this.first + start });
      }
    }
  }

  /** Gives the pages back; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#release(this);
  }
}
