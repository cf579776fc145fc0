/**
 * The chunks in which phase 1 runs a block through the model.
 *
 * @module
 */
import type { RandomSelection } from "../attention/random_selection.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { QUERY_TOKENS } from "../attention/ring_pieces.ts";
import type { Device } from "../device/device.ts";
import type { BlockLayout, ContextBlock } from "./blocks.ts";

/** Draws the tiles that a rank's chunks will use, so that no timed run does. */
export async function drawRandomTiles(
  randomTiles: RandomSelection,
  options: {
    plan: CheckedPlan;
    layout: BlockLayout;
    blocks: readonly ContextBlock[];
    device: Device;
    maxTokens: number;
    queryHeads: number;
  },
): Promise<void> {
  const { plan, layout, blocks, device, maxTokens, queryHeads: heads } = options;
  const isRing = plan.cut.kind === "parts";
  const chunkTokens = isRing ? QUERY_TOKENS : sequenceChunk(maxTokens);
  for (const { index, start, end } of blocks) {
    const prefixTokens = isRing ? start : index === 0 ? 0 : layout.anchorTokens;
    for (let begin = 0; begin < end - start; begin += chunkTokens) {
      const count = Math.min(chunkTokens, end - start - begin);
      const firstTile = (prefixTokens + begin) / TILE_TOKENS;
      const queryTiles = Math.ceil(count / TILE_TOKENS);
      await randomTiles.of({ heads, firstTile, queryTiles }, device);
    }
  }
}

/** How many chunks some tokens are. */
export function chunkCount(tokens: number, options: { maxTokens: number }): number {
  return Math.ceil(tokens / sequenceChunk(options.maxTokens));
}

/** Chunks end at tile edges, so that a row of tiles is never split between two of them. */
export function sequenceChunk(maxTokens: number): number {
  const whole = Math.floor(maxTokens / TILE_TOKENS) * TILE_TOKENS;
  return Math.max(whole, TILE_TOKENS);
}
