/**
 * The options of a run as `run.json` holds them.
 *
 * @module
 */
import { type AttentionPlan, hasBlocks, isSparse } from "../../lib/attention/plan.ts";
import type { LoadOptions } from "../../lib/engine/load_model.ts";
import type { OptionValue } from "./run_record.ts";

/** The options of a plan that change results, by their flags. */
export function planOptions(
  plan: AttentionPlan,
  run: { device: string; dtype: string; processCount: number },
): Record<string, OptionValue> {
  const { mode, blockTokens, anchorTokens, stride, threshold, merge } = plan;
  return {
    attn_type: mode,
    ...(hasBlocks(mode) ? { block_size: blockTokens, anchor_block_size: anchorTokens, merge } : {}),
    ...(isSparse(mode) ? { stride, threshold } : {}),
    // The weights of this merge are one per process.
    ...(hasBlocks(mode) && merge === "antidiagonal" ? { nproc_per_node: run.processCount } : {}),
    // A GPU adds in another order: with bf16, close decisions can turn out otherwise.
    device: run.device,
    dtype: run.dtype,
  };
}

/** The options that change no result. */
export function uncheckedOptions(
  options: Pick<LoadOptions, "processCount" | "threads" | "gpusPerRank" | "timeoutMs">,
): Record<string, OptionValue> {
  return {
    nproc_per_node: options.processCount,
    threads: options.threads,
    gpus_per_rank: options.gpusPerRank ?? 0,
    timeout: options.timeoutMs / 1000,
  };
}
