/**
 * The flags that say how to compute, and what the engine takes for them.
 *
 * @module
 */
import type { AttentionMode, AttentionPlan, MergeRule } from "../../lib/attention/plan.ts";
import { UsageError } from "../../lib/errors.ts";
import type { LoadOptions } from "../../lib/engine/load_model.ts";
import { choiceFlag, decimalFlag, switchFlag, wholeFlag } from "./flags.ts";

/** Values of the flags of the attention. */
export interface PlanFlags {
  readonly attn_type: AttentionMode;
  /** -1 if it is not given. */
  readonly block_size: number;
  /** -1 for the block size. */
  readonly anchor_block_size: number;
  readonly stride: number;
  readonly threshold: number;
  readonly merge: MergeRule;
}

/** Values of the flags of the device. */
export interface EngineFlags {
  readonly device: LoadOptions["device"];
  readonly dtype: LoadOptions["dtype"];
  readonly threads: number;
  /** 0 for as few as are enough. */
  readonly gpus_per_rank: number;
  /** In seconds. */
  readonly timeout: number;
  readonly copy_weights: boolean;
}

/** How many GPUs a process spreads the layers over. */
export const GPUS_FLAG = wholeFlag({
  default: 0,
  max: 32,
  machine: true,
  help: "GPUs of each process that the model's layers are spread over; 0 takes the fewest that " +
    "weights and context fit on",
});

/** How to compute: the same for every command that runs the model. */
export const ENGINE_FLAGS = {
  stride: wholeFlag({
    default: 16,
    help: "tokens per group of the antidiagonal sums, a divisor of 128 (xattn, starx)",
  }),
  threshold: decimalFlag({
    default: 0.95,
    help: "share of a row's antidiagonal mass that the selected blocks must hold, above 0 and at " +
      "most 1; 1 selects every block (xattn, starx)",
  }),
  merge: choiceFlag(["lse", "antidiagonal"], {
    default: "lse",
    help: "how phase 2 merges the processes' parts; 'antidiagonal' is the per-process weighting " +
      "of StarXAttention, kept for comparison: it loses most of the accuracy (star, starx)",
  }),
  device: choiceFlag(["auto", "cpu", "cuda"], {
    default: "auto",
    machine: true,
    help: "where to compute; auto takes a usable GPU, or else the CPU",
  }),
  dtype: choiceFlag(["bf16", "f32"], {
    default: "bf16",
    help: "what keys, values and the inputs of matrix products are rounded to; a GPU takes bf16",
  }),
  threads: wholeFlag({
    default: 0,
    max: 256,
    machine: true,
    help: "threads of each process; 0 divides the cores among the processes",
  }),
  gpus_per_rank: GPUS_FLAG,
  copy_weights: switchFlag({
    machine: true,
    help: "reads the weights into memory once, for files that may change meanwhile; otherwise " +
      "they are mapped, and a change of theirs ends the run",
  }),
  timeout: decimalFlag({
    default: 60,
    machine: true,
    value: "SECONDS",
    help: "how long a process may make no progress before it counts as lost",
  }),
} as const;

/** The engine's option; undefined for as few as are enough. */
export function gpusPerRank(flags: Pick<EngineFlags, "gpus_per_rank">): number | undefined {
  return flags.gpus_per_rank === 0 ? undefined : flags.gpus_per_rank;
}

/** Timers of JavaScript take 2^31 - 1 ms. */
const MAX_TIMEOUT_S = 2_000_000;

/** The attention plan; `checkPlan()` has still to look at it. */
export function planOf(flags: PlanFlags): AttentionPlan {
  const { attn_type: mode, block_size: blockTokens, anchor_block_size: anchor } = flags;
  return {
    mode,
    blockTokens,
    anchorTokens: anchor === -1 ? blockTokens : anchor,
    stride: flags.stride,
    threshold: flags.threshold,
    merge: flags.merge,
  };
}

/**
 * The engine's options.
 *
 * @throws {UsageError} If the timeout is out of its range.
 */
export function engineOptions(
  flags: EngineFlags,
): Pick<
  LoadOptions,
  "device" | "dtype" | "threads" | "gpusPerRank" | "timeoutMs" | "copyWeights"
> {
  const { device, dtype, threads, timeout, copy_weights: copyWeights } = flags;
  if (!(timeout >= 0.1 && timeout <= MAX_TIMEOUT_S)) {
    throw new UsageError(
      `--timeout: must be from 0.1 to ${MAX_TIMEOUT_S} seconds: current value is ${timeout}`,
    );
  }
  const timeoutMs = Math.round(timeout * 1000);
  return { device, dtype, threads, gpusPerRank: gpusPerRank(flags), timeoutMs, copyWeights };
}
