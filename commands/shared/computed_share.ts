/**
 * Which share of a context's attention matrix phase 1 computed.
 *
 * @module
 */
import type { CheckedPlan } from "../../lib/attention/plan.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import type { Generation } from "../../lib/engine/load_model.ts";
import { layOutBlocks } from "../../lib/star/blocks.ts";

const tiles = (tokens: number): number => Math.ceil(tokens / TILE_TOKENS);
/** Tiles on and below the diagonal. */
const triangle = (count: number): number => count * (count + 1) / 2;

/**
 * The 128 x 128 tiles that phase 1 computed, over the causal tiles of the whole context: 1 in dense
 * modes. Star Attention leaves out what lies between a block and its anchor, and computes the anchor
 * once more on each rank that does not own block 0; with selection, each block counts with the share
 * that was selected of it, and the anchor with that of block 0, whose beginning it is.
 *
 * @param generation What was computed; its context, the ranks' work and what was selected.
 */
export function computedShare(
  plan: CheckedPlan,
  generation: Pick<Generation, "contextTokens" | "result">,
): number {
  const { contextTokens, result } = generation;
  const whole = triangle(tiles(contextTokens));
  if (whole === 0) return 1;
  const { anchorTokens, blocksByRank } = layOutBlocks(plan, {
    contextTokens,
    ranks: Math.max(1, result.ranks.length),
  });
  const blocks = blocksByRank.flat();
  if (plan.cut.kind !== "blocks") return selectedShare(result.selectedTiles);
  // The counts stand block by block, each with the same number of layers.
  const layers = result.selectedTiles.length / blocks.length;
  const shareOf = (block: number): number =>
    selectedShare(result.selectedTiles.slice(block * layers, (block + 1) * layers));
  const anchorTiles = tiles(anchorTokens);
  const computed = blocks.reduce((sum, { index, start, end }) => {
    const rows = tiles(end - start);
    const prefix = index === 0 ? 0 : rows * anchorTiles;
    return sum + shareOf(index) * (prefix + triangle(rows));
  }, 0);
  const passes = result.ranks.reduce((sum, { anchorPasses }) => sum + anchorPasses, 0);
  return (computed + passes * shareOf(0) * triangle(anchorTiles)) / whole;
}

/** Without selection all tiles are. */
function selectedShare(counts: readonly (readonly [number, number])[]): number {
  let selected = 0;
  let causal = 0;
  for (const [some, all] of counts) {
    selected += some;
    causal += all;
  }
  return causal === 0 ? 1 : selected / causal;
}
