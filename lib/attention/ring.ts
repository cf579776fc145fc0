/**
 * Exact causal attention over a context that is spread over the ranks in contiguous parts: the
 * baseline that Star Attention is compared with (arXiv 2411.17116, section 3; Ring Attention, arXiv
 * 2310.01889).
 *
 * Keys and values of a layer are gathered on all ranks, in place of travelling around a ring: as
 * many bytes go over each link, in one operation. A rank attends to each part on its own and merges
 * by log-sum-exp, in rank order, so that no gathered key is moved again.
 *
 * @module
 */
import type { Collective, DeviceExchange } from "../parallel/collective.ts";
import { exchangeOn, gatherTensors } from "../parallel/device_exchange.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { copyHeadRows } from "./head_rows.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";
import type { WindowOf } from "./window.ts";
import type { TileCount } from "./xattention.ts";

/** Queries that are attended at once: bounds the memory of the parts. */
export const QUERY_TOKENS = 512;

/** Where the parts of the context lie. */
export interface RingParts {
  readonly collective: Collective;
  /** Context tokens of each rank, in the context's order. */
  readonly partTokens: readonly number[];
  /** This rank's part: the keys and values of a layer. */
  readonly keys: (layer: number) => KvSegment;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: "bf16" | "f32";
}

/** What stays the same over all layers. */
export interface RingOptions extends RingParts {
  readonly queryHeads: number;
  readonly scale: number;
  readonly windowOf: WindowOf;
  /** Called before the exchange of a layer, on all ranks; what it throws ends the pass. */
  readonly beforeExchange: () => Promise<void>;
  /** Called with the share of a layer's attention that is done. */
  readonly onProgress: (fraction: number) => void;
}

/** The keys and values of all ranks, of one layer at a time; owns the buffers of the exchange. */
export class RingKeys implements Disposable {
  readonly #parts: RingParts;
  readonly #owned: DisposableStack;
  readonly #gathered: PerStage<{
    readonly exchange: DeviceExchange;
    /** This rank's part of a layer, all heads' rows side by side, as they are exchanged. */
    readonly packed: Tensor;
    readonly keys: Tensor;
    readonly values: Tensor;
  }>;

  constructor(stages: readonly Stage[], parts: RingParts) {
    this.#parts = parts;
    const { collective: { size }, dtype, kvHeads, headDim } = parts;
    const rows = Math.max(1, ...parts.partTokens);
    using owned = new DisposableStack();
    this.#gathered = new PerStage(stages, ({ device }) => {
      const make = (label: string, ranks: number) => {
        const shape = [ranks * kvHeads, rows, headDim];
        return owned.use(Tensor.allocate(device, { dtype, shape, label }));
      };
      return {
        exchange: exchangeOn(parts.collective, device),
        packed: make("keys or values to exchange", 1),
        keys: make("keys of all ranks", size),
        values: make("values of all ranks", size),
      };
    });
    this.#owned = owned.move();
  }

  /** Takes part in the exchange of a layer; all that a rank without a part has to do. */
  async exchange(layer: number): Promise<void> {
    const { keys, values, start, tokens } = this.#parts.keys(layer);
    const { exchange, packed, ...all } = this.#gathered.of(layer);
    for (const [tensor, out] of [[keys, all.keys], [values, all.values]] as const) {
      const rows = { out: { tensor: packed, start: 0 }, from: { tensor, start } };
      await copyHeadRows(tokens, rows);
      await gatherTensors(exchange, { part: packed, out });
    }
  }

  /** The keys of a rank's part: this rank's where they are, the others' as they were gathered. */
  segment(rank: number, layer: number): KvSegment {
    const { collective, partTokens, kvHeads } = this.#parts;
    if (rank === collective.rank) return this.#parts.keys(layer);
    const place = { start: 0, tokens: partTokens[rank] ?? 0 };
    const { keys, values } = this.#gathered.of(layer);
    return {
      keys: keys.rows(rank * kvHeads, kvHeads),
      values: values.rows(rank * kvHeads, kvHeads),
      ...place,
    };
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** The attention of a whole part; owns the buffers of the exchange. */
export class RingAttention implements AttentionStrategy, Disposable {
  readonly #options: RingOptions;
  readonly #owned: DisposableStack;
  readonly #keys: RingKeys;
  readonly #parts: PerStage<Tensor>;
  readonly #partLength: number;

  constructor(stages: readonly Stage[], options: RingOptions) {
    this.#options = options;
    const { collective: { rank }, queryHeads: heads, headDim } = options;
    this.#partLength = partElements({ tokens: QUERY_TOKENS, heads, headDim });
    const length = rank === 0 ? 0 : (rank + 1) * this.#partLength;
    using owned = new DisposableStack();
    this.#keys = owned.use(new RingKeys(stages, options));
    this.#parts = new PerStage(stages, ({ device }) =>
      owned.use(
        Tensor.allocate(device, { dtype: "f32", shape: [length], label: "ring parts" }),
      ));
    this.#owned = owned.move();
  }

  async attend({ layer, q, out }: LayerQueries): Promise<void> {
    await this.exchange(layer);
    const [tokens = 0] = q.shape;
    for (let begin = 0; begin < tokens; begin += QUERY_TOKENS) {
      const count = Math.min(QUERY_TOKENS, tokens - begin);
      await this.#attendChunk({
        layer,
        begin,
        q: q.rows(begin, count),
        out: out.rows(begin, count),
      });
      this.#options.onProgress((begin + count) / tokens);
    }
  }

  /** Takes part in the exchange of a layer; all that a rank without a part has to do. */
  async exchange(layer: number): Promise<void> {
    await this.#options.beforeExchange();
    await this.#keys.exchange(layer);
  }

  /** The tiles selected per layer: none are selected here. */
  counts(): Promise<TileCount[]> {
    return Promise.resolve([]);
  }

  async #attendChunk(chunk: LayerQueries & { begin: number }): Promise<void> {
    const { layer, begin, q, out } = chunk;
    const { collective: { rank }, partTokens, queryHeads: heads, headDim, scale } = this.#options;
    const window = this.#options.windowOf(layer);
    const [tokens = 0] = q.shape;
    const { device } = q;
    if (rank === 0) {
      const keys = this.#keys.segment(rank, layer);
      return await attentionDense(device, { out, q, keys, qOffset: begin, scale, window });
    }
    const buffer = this.#parts.of(layer);
    const length = partElements({ tokens, heads, headDim });
    const rows = tokens * heads;
    // All earlier parts are seen in full, or as far as a window reaches.
    let qOffset = begin + partTokens.slice(0, rank).reduce((sum, tokens) => sum + tokens, 0);
    for (let other = 0; other <= rank; other++) {
      const part = buffer.rows(other * length, length);
      const keys = this.#keys.segment(other, layer);
      await attentionDense(device, {
        out: part.rows(0, rows * headDim).reshape([tokens, heads, headDim]),
        lse: part.rows(rows * headDim, rows).reshape([tokens, heads]),
        q,
        keys,
        qOffset: other === rank || window > 0 ? qOffset : keys.tokens,
        scale,
        window,
      });
      qOffset -= partTokens[other] ?? 0;
    }
    const parts = buffer.rows(0, (rank + 1) * length).reshape([rank + 1, length]);
    await mergeStates(device, { out, parts, byScore: false, tokens, heads, headDim });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
