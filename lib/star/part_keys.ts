/**
 * Where the keys and values of a rank's part lie in the ring's modes, in which the whole part goes
 * through a layer before the next one begins.
 *
 * Layers that keep all of them have them in the sequence's pages at once. Of one with a window, all are
 * needed as long as the layer is computed: they lie in memory that such layers share, and what later
 * tokens see is copied to the pages behind the layer.
 *
 * @module
 */
import type { AttentionStrategy } from "../attention/strategy.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { type ChunkTarget, consecutive } from "../model/forward.ts";
import type { KvRun } from "../model/kv_cache.ts";
import { type KvArenaOptions, type LayerCache, makeLayer } from "../model/layer_cache.ts";
import { PAGE_TOKENS, pagesFor } from "../model/kv_pages.ts";
import type { KvRows } from "../model/kv_pools.ts";

/** The keys and values of a part; owns what its layers share. */
export class PartKeys implements Disposable {
  readonly #rows: KvRows;
  readonly #tokens: number;
  readonly #next: number;
  /** Where the part's keys and values are to be written. */
  readonly target: ChunkTarget;
  readonly #owned: DisposableStack;
  /** The layers that do not keep all. */
  readonly #sharing: ReadonlySet<number>;
  /** Of the layers of each device; none where all are kept. */
  readonly #shared: PerStage<LayerCache | undefined>;

  /**
   * @param options `rows`: the sequence's pages. `tokens`: of the part. `next`: the row that the first
   * token behind the context would have.
   */
  constructor(
    stages: readonly Stage[],
    options: KvArenaOptions & { rows: KvRows; tokens: number; next: number },
  ) {
    const { rows, tokens, next } = options;
    this.#rows = rows;
    this.#tokens = tokens;
    this.#next = next;
    const keepsAll = (run: KvRun) => run.hasRoom(tokens);
    this.#sharing = new Set(
      stages.flatMap((
        { firstLayer, endLayer },
      ) => [...consecutive(firstLayer, endLayer - firstLayer)])
        .filter((layer) => !keepsAll(rows.runOf(layer))),
    );
    this.target = {
      layer: (layer) => this.#sharing.has(layer) ? this.#sharedOf(layer) : rows.layer(layer),
      rows: rows.places(tokens, (run) => keepsAll(run) ? run.origin : 0),
    };
    using owned = new DisposableStack();
    this.#shared = new PerStage(stages, ({ device, firstLayer, endLayer }) => {
      const layers = consecutive(firstLayer, endLayer - firstLayer);
      if (!layers.some((layer) => this.#sharing.has(layer))) return undefined;
      // Whole pages, as they are expanded to the end of the last tile.
      return makeLayer({ ...options, rows: pagesFor(tokens) * PAGE_TOKENS }, (what, tensor) => {
        const label = `${what} of a part`;
        return owned.use(Tensor.allocate(device, { ...tensor, label }));
      });
    });
    this.#owned = owned.move();
  }

  /** The keys and values of a layer, while it is computed. */
  segment(layer: number): KvSegment {
    const tokens = this.#tokens;
    if (this.#sharing.has(layer)) return { ...this.#sharedOf(layer), start: 0, tokens };
    return this.#rows.segment(layer, { start: 0, tokens });
  }

  #sharedOf(layer: number): LayerCache {
    const shared = this.#shared.of(layer);
    invariant(shared !== undefined, "layers that do not keep all share memory");
    return shared;
  }

  /** A strategy that keeps what later tokens see of each layer it was asked for. */
  keeping(attention: AttentionStrategy): AttentionStrategy {
    return {
      attend: async (queries) => {
        await attention.attend(queries);
        await this.keep(queries.layer);
      },
    };
  }

  /** Keeps what later tokens see of a layer: before the next one is computed. */
  async keep(layer: number): Promise<void> {
    if (!this.#sharing.has(layer)) return;
    await this.#rows.keepFrom(layer, {
      source: { ...this.#sharedOf(layer), start: 0 },
      end: this.#tokens,
      next: this.#next,
    });
  }

  /** Frees what layers share; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
