/**
 * Antidiagonal selection of tiles, then attention over the selected tiles only (XAttention,
 * arXiv 2503.16428, section 2).
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type { Workspace } from "../device/workspace.ts";
import { antidiagonalScore } from "../ops/antidiagonal_score.ts";
import { attentionBlockSparse } from "../ops/attention_block_sparse.ts";
import { copy } from "../ops/convert.ts";
import { selectTiles } from "../ops/select_tiles.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import type { RandomSelection } from "./random_selection.ts";
import { attendWithMeans, type KeptMeans, type RestRule } from "./rest.ts";
import { readLayer, type SequenceKeys } from "./sequence.ts";
import type { AttentionStrategy } from "./strategy.ts";
import type { LoadedHooks } from "./select_module.ts";
import { runHooks } from "./selection_hooks.ts";
import { selectionReader } from "./selection_reader.ts";
import type { LayerThresholds } from "./thresholds.ts";
import { firstVisibleTile, visibleTiles, type WindowPlace } from "./window.ts";

/** How many 128 x 128 tiles were selected, of how many causal ones, over all query heads. */
export interface TileCount {
  selected: number;
  causal: number;
  /** `selected` of each query head; as many of the causal ones fall to each. */
  readonly heads: number[];
}

/** What a chunk selected in a layer. */
export interface SelectedTiles {
  readonly layer: number;
  /** [heads, query tiles] i32: how many key tiles each row selects. */
  readonly counts: Tensor;
  /** [heads, query tiles, key tiles] i32: which ones, the first `counts` of each row. */
  readonly indices: Tensor;
}

/** What the selection needs besides the keys. */
export interface SelectionOptions {
  /** Tokens per group of the antidiagonal sums. */
  readonly stride: number;
  /** Share of a row's mass that the selected tiles must hold, of each layer. */
  readonly thresholds: LayerThresholds;
  /** What becomes of tiles that are not selected. @default {"drop"} */
  readonly rest?: RestRule | undefined;
  /** The means that the chunks of a sequence share, of each layer; absent where each makes them all. */
  readonly meansOf?: ((layer: number) => KeptMeans) | undefined;
  /** Has room for `selectionTensors()`, and for `restTensors()` where tiles are kept as means. */
  readonly scratch: Workspace;
  /** [layers, heads * query tiles] i32, at least: how many tiles each row of a layer selects. */
  readonly counts: Tensor;
  /** Told what each layer selects; what it returns is waited for. */
  readonly onTiles?: ((tiles: SelectedTiles) => Promise<void>) | undefined;
  /** Used in place of the tiles that the mass selects; mass and selection still run. */
  readonly randomTiles?: RandomSelection | undefined;
  /** A selection of one's own, and the context block that it is told. */
  readonly hooks?: LoadedHooks | undefined;
  readonly block?: number | undefined;
}

/** The scratch tensors of one selection, for sizing a workspace. */
export function selectionTensors(
  options: { queryHeads: number; queryTokens: number; keyTokens: number },
): { mass: readonly number[]; indices: readonly number[] } {
  const queryTiles = Math.ceil(options.queryTokens / TILE_TOKENS);
  const keyTiles = Math.ceil(options.keyTokens / TILE_TOKENS);
  const cells = [options.queryHeads, queryTiles, keyTiles];
  return { mass: cells, indices: cells };
}

/** Every row of tiles sees the key tiles that its antidiagonal mass selects. */
export function selectedAttention(
  device: Device,
  options: { keys: SequenceKeys; selection: SelectionOptions },
): AttentionStrategy {
  const { keys, selection } = options;
  const { qOffset, scale, prefixGap } = keys;
  const [layers = 1] = selection.counts.shape;
  return {
    async attend({ layer, q, out }) {
      const [queryTokens = 0, queryHeads = 0] = q.shape;
      const segments = await readLayer(keys, layer);
      const { prefix } = segments;
      const prefixTokens = prefix?.tokens ?? 0;
      const window = keys.windowOf(layer);
      const common = { keys: segments.keys, prefix, qOffset, scale, window, prefixGap };
      const { scratch, stride, thresholds } = selection;
      scratch.reset();
      const shapes = selectionTensors({
        queryHeads,
        queryTokens,
        keyTokens: qOffset + queryTokens,
      });
      const mass = scratch.take({ dtype: "f32", shape: shapes.mass, label: "mass" });
      const [, queryTiles = 0] = shapes.mass;
      const rows = queryHeads * queryTiles;
      const counts = selection.counts.rows(layer, 1).reshape([selection.counts.size / layers])
        .rows(0, rows).reshape([queryHeads, queryTiles]);
      const indices = scratch.take({ dtype: "i32", shape: shapes.indices, label: "indices" });
      await antidiagonalScore(device, { mass, q, ...common, stride });
      const firstTile = qOffset / TILE_TOKENS;
      const threshold = await thresholds.of(layer);
      const { byShare } = thresholds;
      const tiles = { counts, indices, mass, firstTile, threshold, byShare };
      await selectTiles(device, { ...tiles, window, prefixTokens, prefixGap });
      const place = { window, prefixTokens, prefixGap };
      if (selection.hooks !== undefined) {
        await runHooks(selection.hooks, {
          ...{ layer, block: selection.block ?? 0, mass, counts, indices },
          thresholdOf: (head) => thresholds.ofHead(layer, head),
          diagonal: firstTile,
          anchorColumns: prefixTokens / TILE_TOKENS,
          firstColumn: (row) => firstVisibleTile(place, firstTile + row),
          reader: selectionReader({ q, mass, ...common }),
        });
      }
      const chosen =
        await selection.randomTiles?.of({ heads: queryHeads, firstTile, queryTiles }, device) ??
          { counts, indices };
      await selection.onTiles?.({ layer, ...chosen });
      const attention = { out, q, ...common, ...chosen };
      if (selection.rest === "mean") {
        await attendWithMeans(device, { ...attention, scratch, kept: selection.meansOf?.(layer) });
      } else {
        await attentionBlockSparse(device, attention);
      }
      if (chosen.counts !== counts) await copy(device, { out: counts, in: chosen.counts });
    },
  };
}

/**
 * Adds what a chunk selected to the counts of its layers.
 *
 * To be called when all chunks are started: on a GPU, reading waits for what was started before.
 *
 * @param total One per layer. @param chunk `counts` as the selection had it.
 */
export async function addCounts(
  total: readonly TileCount[],
  chunk: {
    counts: Tensor;
    queryHeads: number;
    qOffset: number;
    queryTokens: number;
    /** Where the keys of a layer lie; `total` begins with layer `firstLayer`. */
    placeOf: (layer: number) => WindowPlace;
    firstLayer: number;
  },
): Promise<void> {
  const { counts, queryHeads, qOffset, queryTokens, placeOf, firstLayer } = chunk;
  const queryTiles = Math.ceil(queryTokens / TILE_TOKENS);
  const firstTile = qOffset / TILE_TOKENS;
  const width = counts.shape[1] ?? 0;
  const selected = await counts.toInts();
  for (const [layer, count] of total.entries()) {
    for (let head = 0; head < queryHeads; head++) {
      const begin = layer * width + head * queryTiles;
      const sum = selected.subarray(begin, begin + queryTiles).reduce((sum, row) => sum + row, 0);
      count.selected += sum;
      count.heads[head] = (count.heads[head] ?? 0) + sum;
    }
    const place = placeOf(firstLayer + layer);
    for (let row = firstTile; row < firstTile + queryTiles; row++) {
      count.causal += queryHeads * visibleTiles(place, row);
    }
  }
}
