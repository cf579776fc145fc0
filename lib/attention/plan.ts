/**
 * What a run computes: the attention mode and its sizes. Plain data, checked here once, sent to
 * every rank as it is.
 *
 * Modes: Star Attention (arXiv 2411.17116), XAttention (arXiv 2503.16428), and exact attention over
 * a context that is spread over processes, as Ring Attention (arXiv 2310.01889) has it.
 *
 * @module
 */
import { UsageError } from "../errors.ts";

/** Tokens in a row or column of a block of the block-sparse attention. */
export const SPARSE_BLOCK_TOKENS = 128;

/**
 * `dense`, `xattn` (antidiagonal selection), `star` (blocks with an anchor), `starx` (both), `ring`
 * (dense, the context spread over the processes).
 */
export type AttentionMode = "dense" | "xattn" | "star" | "starx" | "ring";

/** How phase 2 merges the hosts' parts: by log-sum-exp, or by the seed's antidiagonal weights. */
export type MergeRule = "lse" | "antidiagonal";

/** The attention of one run. */
export interface AttentionPlan {
  readonly mode: AttentionMode;
  /** Context tokens per block; 0 where the mode has no blocks. */
  readonly blockTokens: number;
  /** Context tokens of the anchor block; 0 where the mode has no blocks. */
  readonly anchorTokens: number;
  /** Tokens per group of the antidiagonal sums, a divisor of 128. */
  readonly stride: number;
  /** Share of a row's antidiagonal mass that the selected blocks must hold, in (0, 1]. */
  readonly threshold: number;
  readonly merge: MergeRule;
}

/** Whether the mode cuts the context into blocks (phase 1 and phase 2). */
export function hasBlocks(mode: AttentionMode): boolean {
  return mode === "star" || mode === "starx";
}

/** Whether several processes can share one context in this mode. */
export function sharesContext(mode: AttentionMode): boolean {
  return hasBlocks(mode) || mode === "ring";
}

/** Whether the mode selects 128 x 128 blocks by their antidiagonal mass. */
export function isSparse(mode: AttentionMode): boolean {
  return mode === "xattn" || mode === "starx";
}

/**
 * Checks a plan and returns it.
 *
 * @param plan The plan as the user gave it.
 * @returns The same plan; block and anchor size are 0 in modes without blocks.
 * @throws {UsageError} If a size, the stride or the threshold is out of its range; the message
 * names the command line's flag.
 */
export function checkPlan(plan: AttentionPlan): AttentionPlan {
  if (isSparse(plan.mode)) {
    if (!Number.isInteger(plan.stride) || plan.stride < 1 || 128 % plan.stride !== 0) {
      throw new UsageError(
        `Cannot select blocks as '--stride' must be a divisor of 128: current value is ${plan.stride}`,
      );
    }
    // Kernels take it as a number of 32 bits, in which the smallest ones are 0.
    if (!(Math.fround(plan.threshold) > 0 && plan.threshold <= 1)) {
      throw new UsageError(
        `Cannot select blocks as '--threshold' must be above 0 and at most 1: current value is ${plan.threshold}`,
      );
    }
  }
  if (!hasBlocks(plan.mode)) return { ...plan, blockTokens: 0, anchorTokens: 0, merge: "lse" };
  checkBlockSizes(plan);
  return plan;
}

function checkBlockSizes(plan: AttentionPlan): void {
  const { blockTokens, anchorTokens, mode } = plan;
  for (
    const [flag, value] of [
      ["--block_size", blockTokens],
      ["--anchor_block_size", anchorTokens],
    ] as const
  ) {
    if (!Number.isInteger(value) || value < 1) {
      throw new UsageError(
        `Cannot plan blocks as '${flag}' must be a whole number above 0: current value is ${value}`,
      );
    }
    if (mode === "starx" && value % SPARSE_BLOCK_TOKENS !== 0) {
      throw new UsageError(
        `Cannot plan blocks as '${flag}' must be a multiple of 128 in starx: current value is ${value}`,
      );
    }
  }
  if (anchorTokens > blockTokens) {
    throw new UsageError(
      `Cannot plan blocks as '--anchor_block_size' must be at most '--block_size' ${blockTokens}: current value is ${anchorTokens}`,
    );
  }
}
