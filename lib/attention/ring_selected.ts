/**
 * Attention over selected tiles of a context that is spread over the ranks: XAttention's selection
 * (arXiv 2503.16428, section 2) where `ring.ts` is exact.
 *
 * A row's mass is a share of all that lies before it, whoever holds it, and tiles are those of the
 * whole context. So the gathered pieces are laid in the context's order, and what follows is the
 * selection of one process, of the rows that are this rank's.
 *
 * @module
 */
import type { DType } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import type { RandomSelection } from "./random_selection.ts";
import { restTensors } from "./rest.ts";
import type { LoadedHooks } from "./select_module.ts";
import { copyHeadRows } from "./head_rows.ts";
import type { TileSelection } from "./plan.ts";
import { LayerThresholds } from "./thresholds.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { RingKeys, type RingOptions } from "./ring.ts";
import {
  type Piece,
  pieceTokens,
  QUERY_TOKENS,
  type RingChunk,
  ringChunks,
} from "./ring_pieces.ts";
import type { AttentionStrategy, LayerQueries } from "./strategy.ts";
import { addCounts, selectedAttention, selectionTensors, type TileCount } from "./xattention.ts";

/** What stays the same over all layers. */
export interface SelectedRingOptions extends RingOptions {
  readonly selection: TileSelection;
  readonly layerCount: number;
  /** What attention writes. */
  readonly outDtype: DType;
  /** Used in place of the tiles that the mass selects; for benchmarks. */
  readonly randomTiles: RandomSelection | undefined;
  /** A selection of one's own. */
  readonly hooks: LoadedHooks | undefined;
}

/** What the attention has on the device of some layers. */
interface SelectedBuffers {
  readonly stage: Stage;
  /** The context up to the end of this rank's last piece: [kv_heads, tokens, head_dim]. */
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly scratch: Workspace;
  /** [chunks * layers, heads * row tiles of a chunk] i32. */
  readonly counts: Tensor;
}

/** Tensors of a rank's part, for sizing memory. */
export function selectedRingShapes(
  options: { kvHeads: number; queryHeads: number; headDim: number; endTokens: number },
): { keys: readonly number[]; cells: readonly number[] } {
  const { kvHeads, queryHeads, headDim, endTokens } = options;
  const sizes = { queryHeads, queryTokens: QUERY_TOKENS, keyTokens: endTokens };
  return { keys: [kvHeads, endTokens, headDim], cells: selectionTensors(sizes).mass };
}

/** The attention of a whole part, over selected tiles; owns its buffers. */
export class SelectedRingAttention implements AttentionStrategy, Disposable {
  readonly #options: SelectedRingOptions;
  readonly #owned: DisposableStack;
  readonly #ring: RingKeys;
  readonly #buffers: PerStage<SelectedBuffers>;
  /** This rank's; none if it has no part. */
  readonly #pieces: readonly Piece[];
  readonly #chunks: readonly RingChunk[];
  readonly #thresholds: LayerThresholds;

  constructor(stages: readonly Stage[], options: SelectedRingOptions) {
    this.#options = options;
    const { collective: { rank }, pieces, layerCount, queryHeads, headDim } = options;
    this.#pieces = pieces[rank] ?? [];
    this.#chunks = ringChunks(this.#pieces);
    const isTile = ({ start }: Piece) => start % TILE_TOKENS === 0;
    invariant(this.#pieces.every(isTile), "a piece begins with a tile");
    using owned = new DisposableStack();
    this.#ring = owned.use(new RingKeys(stages, options));
    this.#thresholds = owned.use(new LayerThresholds(stages, options.selection.threshold));
    const { dtype, kvHeads } = options;
    const { endTokens } = this;
    const { keys, cells } = selectedRingShapes({ kvHeads, queryHeads, headDim, endTokens });
    const [heads = 0, rowTiles = 0] = cells;
    const chunk = { queryHeads, kvHeads, headDim, queryTokens: QUERY_TOKENS };
    const sizes = { ...chunk, keyTokens: endTokens, outDtype: options.outDtype };
    const scratch = [{ dtype: "f32", shape: cells }, { dtype: "i32", shape: cells }] as const;
    const { rest } = options.selection;
    const rows = this.#chunks.length * layerCount;
    this.#buffers = new PerStage(stages, (stage) => {
      const { device } = stage;
      const make = (label: string) =>
        owned.use(Tensor.allocate(device, { dtype, shape: keys, label }));
      const counts = { dtype: "i32", shape: [rows, heads * rowTiles], label: "selected tiles" };
      return {
        stage,
        keys: make("keys of the context"),
        values: make("values of the context"),
        scratch: owned.use(Workspace.allocate(
          device,
          workspaceBytes([...scratch, ...rest === "mean" ? restTensors(device, sizes) : []]),
        )),
        counts: owned.use(Tensor.allocate(device, { ...counts, dtype: "i32" })),
      };
    });
    this.#owned = owned.move();
  }

  async attend({ layer, q, out }: LayerQueries): Promise<void> {
    await this.exchange(layer);
    await this.#assemble(layer);
    const { onProgress, scale, selection, randomTiles, hooks, layerCount, windowOf } =
      this.#options;
    const { keys, values, scratch, counts } = this.#buffers.of(layer);
    const { stride, rest } = selection;
    const thresholds = this.#thresholds;
    for (const [index, { start: qOffset, tokens, row }] of this.#chunks.entries()) {
      const seen: KvSegment = { keys, values, start: 0, tokens: qOffset + tokens };
      const chunk = counts.rows(index * layerCount, layerCount);
      const strategy = selectedAttention(q.device, {
        keys: { prefix: undefined, own: () => seen, qOffset, prefixGap: 0, windowOf, scale },
        selection: { stride, thresholds, rest, scratch, counts: chunk, randomTiles, hooks },
      });
      await strategy.attend({ layer, q: q.rows(row, tokens), out: out.rows(row, tokens) });
      onProgress((row + tokens) / pieceTokens(this.#pieces));
    }
  }

  /** Tokens of the context up to the end of this rank's last piece. */
  get endTokens(): number {
    return this.#pieces.at(-1)?.end ?? 0;
  }

  /** Takes part in the exchange of a layer; all that a rank without a part has to do. */
  async exchange(layer: number): Promise<void> {
    await this.#ring.exchange(layer);
  }

  /** Lays what this rank's queries see in the context's order. */
  async #assemble(layer: number): Promise<void> {
    const { pieces } = this.#options;
    const buffers = this.#buffers.of(layer);
    for (const [rank, others] of pieces.entries()) {
      let row = 0;
      for (const piece of others) {
        const tokens = pieceTokens([piece]);
        const { start, end } = piece;
        if (end <= this.endTokens) {
          const part = this.#ring.segment(layer, { rank, row, tokens });
          for (const name of ["keys", "values"] as const) {
            await copyHeadRows(tokens, {
              out: { tensor: buffers[name], start },
              from: { tensor: part[name], start: part.start },
            });
          }
        }
        row += tokens;
      }
    }
  }

  /** The tiles selected in each layer but the last; to be called when all layers are started. */
  async counts(): Promise<TileCount[]> {
    const { layerCount, queryHeads, windowOf } = this.#options;
    const total = Array.from(
      { length: layerCount - 1 },
      () => ({ selected: 0, causal: 0, heads: [] }),
    );
    for (const { counts, stage: { firstLayer, endLayer } } of this.#buffers.all) {
      for (const [index, { start: qOffset, tokens: queryTokens }] of this.#chunks.entries()) {
        const first = index * layerCount + firstLayer;
        await addCounts(total.slice(firstLayer, endLayer), {
          counts: counts.rows(first, endLayer - firstLayer),
          queryHeads,
          qOffset,
          queryTokens,
          firstLayer,
          placeOf: (layer) => ({ window: windowOf(layer), prefixTokens: 0, prefixGap: 0 }),
        });
      }
    }
    return total;
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
