/**
 * Lists of chosen tiles as block-sparse attention takes them.
 *
 * @module
 */
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import type { SequenceSizes } from "./attention.ts";

/** Which causal key tiles a row of tiles takes. */
export type TakesTile = (head: number, row: number, column: number) => boolean;

/** A pattern without order, about `percent` of the tiles, tile 0 and the diagonal not always. */
export function scattered(percent: number): TakesTile {
  return (head, row, column) => (head * 31 + row * 17 + column * 29 + 11) % 100 < percent;
}

/** The tile list as the op takes it; numbers beyond a row's count are out of range. */
export function tileList(
  sizes: Pick<SequenceSizes, "tokens" | "qHeads" | "keyTokens" | "prefixTokens"> & {
    readonly qOffset: number;
    readonly takes: TakesTile;
  },
): {
  counts: Int32Array<ArrayBuffer>;
  indices: Int32Array<ArrayBuffer>;
  queryTiles: number;
  indexStride: number;
} {
  const { tokens, qOffset, qHeads, keyTokens, prefixTokens = 0, takes } = sizes;
  const queryTiles = Math.ceil(tokens / TILE_TOKENS);
  const keyTiles = Math.ceil((keyTokens + prefixTokens) / TILE_TOKENS);
  const indexStride = keyTiles + 2;
  const counts = new Int32Array(qHeads * queryTiles);
  const indices = new Int32Array(qHeads * queryTiles * indexStride).fill(2 ** 31 - 1);
  for (let head = 0; head < qHeads; head++) {
    for (let tile = 0; tile < queryTiles; tile++) {
      const row = qOffset / TILE_TOKENS + tile;
      const taken = Array.from({ length: Math.min(row + 1, keyTiles) }, (_, column) => column)
        .filter((column) => takes(head, row, column));
      const at = head * queryTiles + tile;
      counts[at] = taken.length;
      indices.set(taken, at * indexStride);
    }
  }
  return { counts, indices, queryTiles, indexStride };
}
