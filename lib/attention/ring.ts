/**
 * Exact causal attention over a context that is spread over the ranks, two pieces each (`blocks.ts`
 * says which): the baseline that Star Attention is compared with (arXiv 2411.17116, section 3; Ring
 * Attention, arXiv 2310.01889).
 *
 * Keys and values of a layer are gathered on all ranks, in place of travelling around a ring: as
 * many bytes go over each link, in one operation. A rank attends to each rank's pieces on their own
 * and merges by log-sum-exp, in rank order, so that no gathered key is moved again.
 *
 * @module
 */
import type { Collective, DeviceExchange } from "../parallel/collective.ts";
import { exchangeOn, gatherTensors } from "../parallel/device_exchange.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { copyHeadRows } from "./head_rows.ts";
import { attentionDense } from "../ops/attention_dense.ts";
import { mergeStates, partElements } from "../ops/merge_states.ts";
import {
  type PiecesByRank,
  pieceTokens,
  QUERY_TOKENS,
  type RingCall,
  ringCalls,
  type RingChunk,
  ringChunks,
} from "./ring_pieces.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";
import type { WindowOf } from "./window.ts";
import type { TileCount } from "./xattention.ts";

/** Where the parts of the context lie. */
export interface RingParts {
  readonly collective: Collective;
  /** Of all ranks that have any. */
  readonly pieces: PiecesByRank;
  /**
   * This rank's part, one piece behind the other: the keys and values of a layer as ops read them, and
   * as they are exchanged. They are asked for once a layer, and read until the next one.
   */
  readonly keys: (layer: number) => Promise<KvSegment>;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The dtype in which they are read. */
  readonly dtype: "bf16" | "f32";
  /** Called before the exchange of a layer, on all ranks; what it throws ends the pass. */
  readonly beforeExchange: () => Promise<void>;
}

/** What stays the same over all layers. */
export interface RingOptions extends RingParts {
  readonly queryHeads: number;
  readonly scale: number;
  readonly windowOf: WindowOf;
  /** Called with the share of a layer's attention that is done. */
  readonly onProgress: (fraction: number) => void;
}

/** What the exchange of some layers has on their device. */
interface GatheredKeys {
  readonly exchange: DeviceExchange;
  /** This rank's part of a layer, all heads' rows side by side, as they are exchanged. */
  readonly packed: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** The keys and values of all ranks, of one layer at a time; owns the buffers of the exchange. */
export class RingKeys implements Disposable {
  readonly #parts: RingParts;
  readonly #owned: DisposableStack;
  /** Absent where one rank has all keys. */
  readonly #gathered: PerStage<GatheredKeys> | undefined;
  /** This rank's part of the layer that was exchanged last. */
  #own: { readonly layer: number; readonly keys: KvSegment } | undefined;

  constructor(stages: readonly Stage[], parts: RingParts) {
    this.#parts = parts;
    const { collective: { size }, dtype, kvHeads, headDim, pieces } = parts;
    const rows = Math.max(...pieces.map(pieceTokens));
    using owned = new DisposableStack();
    this.#gathered = pieces.length === 1 ? undefined : new PerStage(stages, ({ device }) => {
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
    await this.#parts.beforeExchange();
    const own = await this.#parts.keys(layer);
    this.#own = { layer, keys: own };
    if (this.#gathered === undefined) return;
    const { keys, values, start, tokens } = own;
    const { exchange, packed, ...all } = this.#gathered.of(layer);
    for (const [tensor, out] of [[keys, all.keys], [values, all.values]] as const) {
      const rows = { out: { tensor: packed, start: 0 }, from: { tensor, start } };
      await copyHeadRows(tokens, rows);
      await gatherTensors(exchange, { part: packed, out });
    }
  }

  /** Some keys of a rank's part: this rank's where they are, the others' as they were gathered. */
  segment(layer: number, part: { rank: number; row: number; tokens: number }): KvSegment {
    const { collective, kvHeads } = this.#parts;
    const { rank, row, tokens } = part;
    if (rank === collective.rank) {
      const own = this.#own;
      invariant(own?.layer === layer, "a layer is exchanged before it is read");
      return { ...own.keys, start: own.keys.start + row, tokens };
    }
    invariant(this.#gathered !== undefined, "other ranks' keys are gathered");
    const { keys, values } = this.#gathered.of(layer);
    return {
      keys: keys.rows(rank * kvHeads, kvHeads),
      values: values.rows(rank * kvHeads, kvHeads),
      start: row,
      tokens,
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

  constructor(stages: readonly Stage[], options: RingOptions) {
    this.#options = options;
    const { pieces } = options;
    const length = pieces.length === 1 ? 0 : pieces.length * chunkElements(options);
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
    const { pieces, collective: { rank }, onProgress } = this.#options;
    const own = pieces[rank] ?? [];
    for (const chunk of ringChunks(own)) {
      const { row, tokens } = chunk;
      const queries = { layer, q: q.rows(row, tokens), out: out.rows(row, tokens) };
      await this.#attendChunk(queries, chunk);
      onProgress((row + tokens) / pieceTokens(own));
    }
  }

  /** Takes part in the exchange of a layer; all that a rank without a part has to do. */
  async exchange(layer: number): Promise<void> {
    await this.#keys.exchange(layer);
  }

  /** The tiles selected per layer: none are selected here. */
  counts(): Promise<TileCount[]> {
    return Promise.resolve([]);
  }

  async #attendChunk(queries: LayerQueries, chunk: RingChunk): Promise<void> {
    const { layer, q, out } = queries;
    const { pieces, windowOf, queryHeads: heads, headDim } = this.#options;
    const calls = ringCalls(pieces, chunk, windowOf(layer));
    const [first] = calls;
    if (calls.length === 1 && first !== undefined) {
      return await this.#attendTo(first, { layer, q, out });
    }
    const buffer = this.#parts.of(layer);
    const { tokens } = chunk;
    const length = partElements({ tokens, heads, headDim });
    const rows = tokens * heads;
    for (const [i, call] of calls.entries()) {
      const part = buffer.rows(i * length, length);
      await this.#attendTo(call, {
        layer,
        q,
        out: part.rows(0, rows * headDim).reshape([tokens, heads, headDim]),
        lse: part.rows(rows * headDim, rows).reshape([tokens, heads]),
      });
    }
    const parts = buffer.rows(0, calls.length * length).reshape([calls.length, length]);
    await mergeStates(q.device, { out, parts, byScore: false, tokens, heads, headDim });
  }

  /** Attends to the keys of one rank. */
  async #attendTo(call: RingCall, queries: LayerQueries & { lse?: Tensor }): Promise<void> {
    const { layer, q, out, lse } = queries;
    const { rank, row, tokens, prefixTokens, prefixGap, qOffset } = call;
    const { scale, windowOf } = this.#options;
    const segment = (row: number, tokens: number) =>
      this.#keys.segment(layer, { rank, row, tokens });
    await attentionDense(q.device, {
      out,
      lse,
      q,
      keys: segment(row + prefixTokens, tokens - prefixTokens),
      prefix: prefixTokens === 0 ? undefined : segment(row, prefixTokens),
      prefixGap,
      qOffset,
      scale,
      window: windowOf(layer),
    });
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Numbers of what a chunk gets of one rank. */
function chunkElements(sizes: { queryHeads: number; headDim: number }): number {
  const { queryHeads: heads, headDim } = sizes;
  return partElements({ tokens: QUERY_TOKENS, heads, headDim });
}
