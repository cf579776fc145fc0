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
import type { Collective } from "../parallel/collective.ts";
import { type DeviceExchange, exchangeOn, gatherTensors } from "../parallel/device_exchange.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";
import type { BlockCount } from "./xattention.ts";

/** Queries that are attended at once: bounds the memory of the parts. */
export const QUERY_TOKENS = 512;

/** Where the parts of the context lie. */
export interface RingParts {
  readonly collective: Collective;
  /** Context tokens of each rank, in the context's order. */
  readonly partTokens: readonly number[];
  /** A layer's keys and values here; the same shape on every rank. */
  readonly layer: (layer: number) => { readonly keys: Tensor; readonly values: Tensor };
}

/** What stays the same over all layers. */
export interface RingOptions extends RingParts {
  readonly queryHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** Called with the share of a layer's attention that is done. */
  readonly onProgress: (fraction: number) => void;
}

/** The keys and values of all ranks, of one layer at a time; owns the buffers of the exchange. */
export class RingKeys implements Disposable {
  readonly #parts: RingParts;
  readonly #owned: DisposableStack;
  readonly #gathered: PerStage<
    { readonly exchange: DeviceExchange; readonly keys: Tensor; readonly values: Tensor }
  >;

  constructor(stages: readonly Stage[], parts: RingParts) {
    this.#parts = parts;
    const { collective: { size } } = parts;
    const { dtype, shape: [kvHeads = 0, ...rest] } = parts.layer(0).keys;
    using owned = new DisposableStack();
    this.#gathered = new PerStage(stages, ({ device }) => {
      const shape = [size * kvHeads, ...rest];
      const make = (label: string) => owned.use(Tensor.allocate(device, { dtype, shape, label }));
      return {
        exchange: exchangeOn(parts.collective, device),
        keys: make("keys of all ranks"),
        values: make("values of all ranks"),
      };
    });
    this.#owned = owned.move();
  }

  /** Takes part in the exchange of a layer; all that a rank without a part has to do. */
  async exchange(layer: number): Promise<void> {
    const { keys, values } = this.#parts.layer(layer);
    const { exchange, ...all } = this.#gathered.of(layer);
    await gatherTensors(exchange, { part: keys, out: all.keys });
    await gatherTensors(exchange, { part: values, out: all.values });
  }

  /** The keys of a rank's part: this rank's where they are, the others' as they were gathered. */
  segment(rank: number, layer: number): KvSegment {
    const { collective, partTokens } = this.#parts;
    const own = this.#parts.layer(layer);
    const place = { start: 0, tokens: partTokens[rank] ?? 0 };
    if (rank === collective.rank) return { ...own, ...place };
    const [kvHeads = 0] = own.keys.shape;
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
    await this.#keys.exchange(layer);
  }

  /** The tiles taken per layer: none are selected here. */
  counts(): Promise<BlockCount[]> {
    return Promise.resolve([]);
  }

  async #attendChunk(chunk: LayerQueries & { begin: number }): Promise<void> {
    const { layer, begin, q, out } = chunk;
    const { collective: { rank }, queryHeads: heads, headDim, scale } = this.#options;
    const [tokens = 0] = q.shape;
    const { device } = q;
    if (rank === 0) {
      const keys = this.#keys.segment(rank, layer);
      return await attentionDense(device, { out, q, keys, qOffset: begin, scale });
    }
    const buffer = this.#parts.of(layer);
    const length = partElements({ tokens, heads, headDim });
    const rows = tokens * heads;
    for (let other = 0; other <= rank; other++) {
      const part = buffer.rows(other * length, length);
      const keys = this.#keys.segment(other, layer);
      await attentionDense(device, {
        out: part.rows(0, rows * headDim).reshape([tokens, heads, headDim]),
        lse: part.rows(rows * headDim, rows).reshape([tokens, heads]),
        q,
        keys,
        // All earlier parts are seen in full.
        qOffset: other === rank ? begin : keys.tokens,
        scale,
      });
    }
    const parts = buffer.rows(0, (rank + 1) * length).reshape([rank + 1, length]);
    await mergeStates(device, { out, parts, byScore: false, tokens, heads, headDim });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
