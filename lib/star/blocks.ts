/**
 * How a context is cut into blocks and dealt to ranks (Star Attention, arXiv 2411.17116, 2.1).
 *
 * Pure arithmetic: the same numbers on every rank, without a word between them. Modes without
 * blocks are the case of one block, one rank and no anchor; the ring's modes have two per rank.
 *
 * @module
 */
import { anchorTokensOf, type CheckedPlan, usedRanks } from "../attention/plan.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { invariant } from "../errors.ts";

/** A run of context tokens that is encoded as one local sequence. */
export interface ContextBlock {
  /** Its number, from 0. */
  readonly index: number;
  /** First context token, inclusive. */
  readonly start: number;
  /** Last context token, exclusive. */
  readonly end: number;
}

/** Who encodes what. */
export interface BlockLayout {
  /** Anchor tokens in front of every block but the first; at most the context's length. */
  readonly anchorTokens: number;
  /**
   * The blocks of each rank that has any, in the context's order; its length is the number of those
   * ranks.
   */
  readonly blocksByRank: readonly (readonly ContextBlock[])[];
  /**
   * The rank that has the context's end: it also holds the keys and values of query and generated
   * tokens.
   */
  readonly queryRank: number;
}

/**
 * Lays a context out over ranks. Blocks are dealt in order, the first ranks getting one more when
 * the number does not divide, as numpy's `array_split` deals them; ranks beyond the number of
 * blocks get none.
 *
 * @param plan A checked attention plan.
 * @param options `contextTokens`, 0 or more, and `ranks`, how many processes there are.
 * @returns The layout; an empty context is one empty block on one rank.
 * @example Five blocks, dealt to two ranks.
 * ```ts
 * import { checkPlan, layOutBlocks } from "@starx/starx";
 * import { deepEqual } from "node:assert/strict";
 * const plan = checkPlan({ mode: "star", blockTokens: 100 });
 * const { blocksByRank } = layOutBlocks(plan, { contextTokens: 450, ranks: 2 });
 * deepEqual(blocksByRank.map((blocks) => blocks.map(({ index }) => index)), [[0, 1, 2], [3, 4]]);
 * ```
 */
export function layOutBlocks(
  plan: CheckedPlan,
  options: { contextTokens: number; ranks: number },
): BlockLayout {
  const { contextTokens, ranks } = options;
  invariant(contextTokens >= 0 && ranks >= 1, "a layout needs a context and a rank");
  const { cut } = plan;
  if (cut.kind === "parts") return layOutParts(plan, options);
  const size = cut.kind === "blocks" ? cut.blockTokens : Math.max(1, contextTokens);
  const blockCount = Math.max(1, Math.ceil(contextTokens / size));
  const rankCount = usedRanks(plan, options);
  const blocksByRank: ContextBlock[][] = [];
  let next = 0;
  for (let rank = 0; rank < rankCount; rank++) {
    const share = Math.floor(blockCount / rankCount) + (rank < blockCount % rankCount ? 1 : 0);
    blocksByRank.push(Array.from({ length: share }, (_, i) => {
      const index = next + i;
      return { index, start: index * size, end: Math.min((index + 1) * size, contextTokens) };
    }));
    next += share;
  }
  return {
    anchorTokens: blockCount > 1 ? anchorTokensOf(plan) : 0,
    blocksByRank,
    queryRank: rankCount - 1,
  };
}

/**
 * Of 2 H pieces, rank r of H takes pieces r and 2 H - 1 - r. The queries of a piece see all pieces
 * before it, so that the second is dear where the first is cheap, and all ranks have as many pairs of
 * query and key. Pieces are whole tiles, the first ones longer by one when the number does not
 * divide; a short context leaves the last ones out.
 */
function layOutParts(
  plan: CheckedPlan,
  options: { contextTokens: number; ranks: number },
): BlockLayout {
  const { contextTokens } = options;
  const rankCount = usedRanks(plan, options);
  // Both pieces of a rank alone would be one run of tokens.
  const pieceCount = rankCount === 1 ? 1 : 2 * rankCount;
  const tiles = Math.ceil(contextTokens / TILE_TOKENS);
  const short = Math.floor(tiles / pieceCount);
  const long = tiles % pieceCount;
  const pieces = Array.from({ length: pieceCount }, (_, index) => {
    const first = index * short + Math.min(index, long);
    const last = first + short + (index < long ? 1 : 0);
    const end = Math.min(last * TILE_TOKENS, contextTokens);
    return { index, start: Math.min(first * TILE_TOKENS, contextTokens), end };
  });
  const isTaken = ({ index, start, end }: ContextBlock) => index === 0 || end > start;
  const rankOf = ({ index }: ContextBlock) => Math.min(index, 2 * rankCount - 1 - index);
  const taken = pieces.filter(isTaken);
  const last = taken.at(-1);
  invariant(last !== undefined, "the first piece is always there");
  return {
    anchorTokens: 0,
    blocksByRank: Array.from(
      { length: rankCount },
      (_, rank) => taken.filter((piece) => rankOf(piece) === rank),
    ),
    queryRank: rankOf(last),
  };
}

/** Context tokens of some blocks: what a rank that has them holds in its cache. */
export function tokensIn(blocks: readonly ContextBlock[]): number {
  return blocks.reduce((sum, block) => sum + block.end - block.start, 0);
}
