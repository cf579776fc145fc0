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
import { collectiveOn } from "../parallel/staged.ts";
import { gatherTensors } from "../parallel/tensors.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";

/** Queries that are attended at once: bounds the memory of the parts. */
const QUERY_TOKENS = 512;

/** What stays the same over all layers. */
export interface RingOptions {
  readonly collective: Collective;
  /** Context tokens of each rank, in the context's order. */
  readonly partTokens: readonly number[];
  /** A layer's keys and values here; the same shape on every rank. */
  readonly layer: (layer: number) => { readonly keys: Tensor; readonly values: Tensor };
  readonly queryHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** Called before the exchange of a layer, on all ranks; what it throws ends the pass. */
  readonly beforeExchange: () => Promise<void>;
  /** Called with the share of a layer's attention that is done. */
  readonly onProgress: (fraction: number) => void;
}

/** What the attention has on the device of some layers. */
interface RingBuffers {
  /** The exchange of that device's memory. */
  readonly collective: Collective;
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly parts: Tensor;
}

/** The attention of a whole part; owns the buffers of the exchange. */
export class RingAttention implements AttentionStrategy, Disposable {
  readonly #options: RingOptions;
  readonly #owned: DisposableStack;
  readonly #buffers: PerStage<RingBuffers>;
  readonly #partLength: number;

  constructor(stages: readonly Stage[], options: RingOptions) {
    this.#options = options;
    const { collective: { rank, size }, queryHeads: heads, headDim } = options;
    const { dtype, shape: [kvHeads = 0, ...rest] } = options.layer(0).keys;
    this.#partLength = partElements({ tokens: QUERY_TOKENS, heads, headDim });
    const length = rank === 0 ? 0 : (rank + 1) * this.#partLength;
    using owned = new DisposableStack();
    this.#buffers = new PerStage(stages, ({ device }) => {
      const make = (label: string) =>
        owned.use(
          Tensor.allocate(device, { dtype, shape: [size * kvHeads, ...rest], label }),
        );
      const label = "ring parts";
      return {
        collective: collectiveOn(options.collective, device),
        keys: make("keys of all ranks"),
        values: make("values of all ranks"),
        parts: owned.use(Tensor.allocate(device, { dtype: "f32", shape: [length], label })),
      };
    });
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
    const { keys, values } = this.#options.layer(layer);
    const { collective, ...all } = this.#buffers.of(layer);
    await gatherTensors(collective, { part: keys, out: all.keys });
    await gatherTensors(collective, { part: values, out: all.values });
  }

  async #attendChunk(chunk: LayerQueries & { begin: number }): Promise<void> {
    const { layer, begin, q, out } = chunk;
    const { collective: { rank }, queryHeads: heads, headDim, scale, partTokens } = this.#options;
    const [tokens = 0] = q.shape;
    const { device } = q;
    const buffers = this.#buffers.of(layer);
    const ownTokens = partTokens[rank] ?? 0;
    const own = { ...this.#options.layer(layer), start: 0, tokens: ownTokens };
    if (rank === 0) {
      return await attentionDense(device, { out, q, keys: own, qOffset: begin, scale });
    }
    const length = partElements({ tokens, heads, headDim });
    const rows = tokens * heads;
    for (let other = 0; other <= rank; other++) {
      const part = buffers.parts.rows(other * length, length);
      const keys = other === rank ? own : this.#segment(other, buffers);
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
    const parts = buffers.parts.rows(0, (rank + 1) * length).reshape([rank + 1, length]);
    await mergeStates(device, { out, parts, byScore: false, tokens, heads, headDim });
  }

  /** The keys of another rank's part. */
  #segment(rank: number, buffers: RingBuffers): KvSegment {
    const [kvHeads = 0] = this.#options.layer(0).keys.shape;
    return {
      keys: buffers.keys.rows(rank * kvHeads, kvHeads),
      values: buffers.values.rows(rank * kvHeads, kvHeads),
      start: 0,
      tokens: this.#options.partTokens[rank] ?? 0,
    };
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
