/**
 * From the flags that say how to compute to what the engine takes.
 *
 * @module
 */
import type { AttentionMode, AttentionPlan, MergeRule } from "../lib/attention/plan.ts";
import { UsageError } from "../lib/errors.ts";
import type { LoadOptions } from "../lib/star/load_model.ts";

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
  /** In seconds. */
  readonly timeout: number;
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
): Pick<LoadOptions, "device" | "dtype" | "threads" | "timeoutMs"> {
  const { device, dtype, threads, timeout } = flags;
  if (!(timeout >= 0.1 && timeout <= MAX_TIMEOUT_S)) {
    throw new UsageError(
      `--timeout: must be from 0.1 to ${MAX_TIMEOUT_S} seconds: current value is ${timeout}`,
    );
  }
  return { device, dtype, threads, timeoutMs: Math.round(timeout * 1000) };
}
