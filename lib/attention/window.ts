/**
 * Sliding windows: which keys a query sees, by original positions.
 *
 * Keys of a call are numbered from the first key of a prefix on; positions have a gap behind it, of
 * what lies between an anchor block and the block that is encoded, or between the two pieces of a
 * rank in the ring's modes. `kernels/abi/window.h` says the same.
 *
 * @module
 */
import { invariant } from "../errors.ts";
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

/** Where the keys of a rank stand in a sequence: in one run of positions, or in two. */
export interface KeyPlace {
  readonly firstPosition: number;
  /** Keys before the gap; 0 where all positions run on. */
  readonly prefixTokens: number;
  /** Positions in the gap. */
  readonly prefixGap: number;
}

/**
 * Where the keys of some runs of positions stand, one run behind the other; at most two of them may lie
 * apart. No runs: no keys.
 */
export function keyPlace(
  runs: readonly { readonly start: number; readonly end: number }[],
): KeyPlace {
  const firstPosition = runs[0]?.start ?? 0;
  let place: KeyPlace = { firstPosition, prefixTokens: 0, prefixGap: 0 };
  for (const [i, { end }] of runs.entries()) {
    const next = runs[i + 1];
    if (next === undefined || next.start === end) continue;
    invariant(place.prefixGap === 0, "the keys of a rank have one gap at most");
    place = { firstPosition, prefixTokens: end - firstPosition, prefixGap: next.start - end };
  }
  return place;
}

/** The keys of a rank that a token sees, as rows from the rank's first key on. */
export interface VisibleRows {
  readonly firstRow: number;
  readonly keyCount: number;
}

/**
 * The keys of one rank that a sequence's last token sees: always the last ones, as positions ascend.
 *
 * @param keys `lastPosition`: the token's, behind all of the rank's keys or among the last ones.
 */
export function visibleRows(
  window: number,
  keys: KeyPlace & { keyCount: number; lastPosition: number },
): VisibleRows {
  const { keyCount } = keys;
  const query = queryNumber(keys, keys.lastPosition);
  const firstRow = Math.min(firstVisibleKey({ window, ...keys }, query), keyCount);
  return { firstRow, keyCount: keyCount - firstRow };
}

/** The number, among a rank's keys, of a token that stands behind their gap. */
export function queryNumber(keys: KeyPlace, position: number): number {
  return position - keys.firstPosition - keys.prefixGap;
}

/** The number of the first tile that a row of tiles sees. */
export function firstVisibleTile(place: WindowPlace, rowTile: number): number {
  return Math.floor(firstVisibleKey(place, rowTile * TILE_TOKENS) / TILE_TOKENS);
}

/** The number of the first tile of which a query sees every key, if it lies behind them all. */
export function firstWholeTile(place: WindowPlace, query: number): number {
  return Math.ceil(firstVisibleKey(place, query) / TILE_TOKENS);
}

/** How many tiles a row of tiles sees, its own included. */
export function visibleTiles(place: WindowPlace, rowTile: number): number {
  return rowTile + 1 - firstVisibleTile(place, rowTile);
}
