/**
 * The chunks in which phase 1 runs a block through the model.
 *
 * @module
 */
import type { ForcedSelection } from "../attention/forced_selection.ts";
import { type CheckedPlan, SPARSE_BLOCK_TOKENS } from "../attention/plan.ts";
import { QUERY_TOKENS } from "../attention/ring.ts";
import type { Device } from "../device/device.ts";
import type { BlockLayout, ContextBlock } from "./blocks.ts";

/** Draws the blocks that a host's chunks will take, so that no timed run does. */
export async function drawForcedBlocks(
  forced: ForcedSelection,
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
      const firstBlock = (prefixTokens + begin) / SPARSE_BLOCK_TOKENS;
      const queryBlocks = Math.ceil(count / SPARSE_BLOCK_TOKENS);
      await forced.blocks({ heads, firstBlock, queryBlocks }, device);
    }
  }
}

/** How many chunks some tokens are. */
export function chunkCount(tokens: number, options: { maxTokens: number }): number {
  return Math.ceil(tokens / sequenceChunk(options.maxTokens));
}

/** Chunks end at block edges, so that a row of blocks is never split between two of them. */
export function sequenceChunk(maxTokens: number): number {
  const whole = Math.floor(maxTokens / SPARSE_BLOCK_TOKENS) * SPARSE_BLOCK_TOKENS;
  return Math.max(whole, SPARSE_BLOCK_TOKENS);
}
