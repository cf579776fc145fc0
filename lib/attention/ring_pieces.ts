/**
 * Which keys a chunk of queries meets where the context is spread over the ranks in pieces.
 *
 * Pure arithmetic: what is computed, and how much of it, can be looked at without a device.
 *
 * @module
 */
import { invariant } from "../errors.ts";

/** Queries that are attended at once: bounds the memory of the parts. */
export const QUERY_TOKENS = 512;

/** A run of the context: positions `start` to `end`. */
export interface Piece {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** The pieces of each rank, in the context's order; a rank's keys lie one piece behind the other. */
export type PiecesByRank = readonly (readonly Piece[])[];

/** Some queries of a rank, side by side in the context. */
export interface RingChunk {
  /** Position of the first one. */
  readonly start: number;
  readonly tokens: number;
  /** Tokens of the rank in front of it. */
  readonly row: number;
}

/** The keys of one rank that a chunk sees, as an op of attention takes them. */
export interface RingCall {
  readonly rank: number;
  /** Tokens of the rank in front of the first key. */
  readonly row: number;
  /** Keys before the gap between the rank's pieces; 0 where all positions run on. */
  readonly prefixTokens: number;
  /** Positions in that gap. */
  readonly prefixGap: number;
  /** All keys, the prefix included. */
  readonly tokens: number;
  /** The chunk's first query in the numbers of these keys. */
  readonly qOffset: number;
}

/** Tokens of some pieces. */
export function pieceTokens(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { start, end }) => sum + end - start, 0);
}

/** The chunks in which a rank attends: none reaches over the end of a piece. */
export function ringChunks(pieces: readonly Piece[]): RingChunk[] {
  const chunks: RingChunk[] = [];
  let row = 0;
  for (const { start, end } of pieces) {
    for (let begin = start; begin < end; begin += QUERY_TOKENS) {
      const tokens = Math.min(QUERY_TOKENS, end - begin);
      chunks.push({ start: begin, tokens, row });
      row += tokens;
    }
  }
  return chunks;
}

/**
 * The keys that a chunk sees, one call for each rank that has any, in rank order.
 *
 * @param pieces All ranks'. @param chunk Of one of these pieces.
 * @param window Positions that a query sees, its own included; 0 for all before it.
 */
export function ringCalls(
  pieces: PiecesByRank,
  chunk: Pick<RingChunk, "start" | "tokens">,
  window: number,
): RingCall[] {
  const end = chunk.start + chunk.tokens;
  const reach = window === 0 ? 0 : Math.max(0, chunk.start - window + 1);
  return pieces.flatMap((own, rank) => {
    const isSeen = (piece: Piece) => piece.start < end && piece.end > reach;
    const seen = own.filter(isSeen).map((piece) => ({ ...piece, end: Math.min(piece.end, end) }));
    const [first, second] = seen;
    if (first === undefined) return [];
    invariant(seen.length <= 2, "a rank has at most two pieces");
    const row = pieceTokens(own.slice(0, own.findIndex(isSeen)));
    const tokens = pieceTokens(seen);
    const gap = second === undefined ? 0 : second.start - first.end;
    const qOffset = chunk.start - first.start - gap;
    // Without a window keys of earlier pieces are seen in full, wherever they stand.
    const hasGap = window > 0 && gap > 0;
    return [{
      rank,
      row,
      prefixTokens: hasGap ? first.end - first.start : 0,
      prefixGap: hasGap ? gap : 0,
      tokens,
      qOffset: window > 0 ? qOffset : Math.min(qOffset, tokens),
    }];
  });
}
