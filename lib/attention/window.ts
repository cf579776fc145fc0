/**
 * Sliding windows: which keys a query sees, by original positions.
 *
 * Keys of a call are numbered from the first key of a prefix on; positions have a gap behind it, of
 * what lies between an anchor block and the block that is encoded. `kernels/abi/window.h` says the same.
 *
 * @module
 */
import { TILE_TOKENS } from "../ffi/symbols.ts";

/** The window of each layer in tokens, a query's own position included; 0 for none. */
export type WindowOf = (layer: number) => number;

/** Where the keys of a call lie. */
export interface WindowPlace {
  /** 0 for none. */
  readonly window: number;
  readonly prefixTokens: number;
  /** Positions between the prefix and the first own key. */
  readonly prefixGap: number;
}

/** The number of the first key that the query at a place sees. */
function firstVisibleKey(place: WindowPlace, query: number): number {
  const { window, prefixTokens, prefixGap } = place;
  if (window === 0) return 0;
  const low = query + (query < prefixTokens ? 0 : prefixGap) - window + 1;
  if (low < prefixTokens) return Math.max(0, low);
  return Math.max(prefixTokens, low - prefixGap);
}

/** The keys of a rank that a token sees, as rows from the rank's first key on. */
export interface VisibleRows {
  readonly firstRow: number;
  readonly keyCount: number;
}

/**
 * The keys of one rank that a sequence's last token sees.
 *
 * @param keys The rank's keys have positions of their own: `firstPosition`, and so on.
 */
export function visibleRows(
  window: number,
  keys: { firstPosition: number; keyCount: number; lastPosition: number },
): VisibleRows {
  const { firstPosition, keyCount, lastPosition } = keys;
  const low = window === 0 ? 0 : lastPosition - window + 1 - firstPosition;
  const firstRow = Math.min(Math.max(0, low), keyCount);
  return { firstRow, keyCount: keyCount - firstRow };
}

/** The number of the first tile that a row of tiles sees. */
export function firstVisibleTile(place: WindowPlace, rowTile: number): number {
  return Math.floor(firstVisibleKey(place, rowTile * TILE_TOKENS) / TILE_TOKENS);
}

/** How many tiles a row of tiles sees, its own included. */
export function visibleTiles(place: WindowPlace, rowTile: number): number {
  return rowTile + 1 - firstVisibleTile(place, rowTile);
}
