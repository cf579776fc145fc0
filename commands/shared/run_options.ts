/**
 * The options of a run as `run.json` holds them.
 *
 * @module
 */
import { type CheckedPlan, mergeOf, modeOf } from "../../lib/attention/plan.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import type { OptionValue } from "./run_record.ts";

/** The options of a plan that change results, by their flags. */
export function planOptions(
  plan: CheckedPlan,
  run: {
    device: string;
    dtype: string;
    processCount: number;
    ropeScaling?: Readonly<Record<string, unknown>> | undefined;
  },
): Record<string, OptionValue> {
  const { cut, selection } = plan;
  const blocks = cut.kind === "blocks"
    ? { block_size: cut.blockTokens, anchor_block_size: cut.anchorTokens, merge: cut.merge }
    : {};
  return {
    attn_type: modeOf(plan),
    ...blocks,
    ...selection,
    ...(run.ropeScaling === undefined ? {} : { rope_scaling: JSON.stringify(run.ropeScaling) }),
    // The weights of this merge are one per process.
    ...(mergeOf(plan) === "antidiagonal" ? { nproc_per_node: run.processCount } : {}),
    // A GPU adds in another order: with bf16, close decisions can turn out otherwise.
    device: run.device,
    dtype: run.dtype,
  };
}

/** The options that change no result. */
export function uncheckedOptions(
  options: Pick<CheckedLoad, "processCount" | "threads" | "timeoutMs"> & {
    gpusPerRank?: number | undefined;
  },
): Record<string, OptionValue> {
  return {
    nproc_per_node: options.processCount,
    threads: options.threads,
    gpus_per_rank: options.gpusPerRank ?? 0,
    timeout: options.timeoutMs / 1000,
  };
}
