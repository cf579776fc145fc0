/**
 * The flags that say how to compute, and what the engine takes for them.
 *
 * @module
 */
import {
  ATTENTION_MODES,
  type AttentionMode,
  MERGE_RULES,
  type MergeRule,
  PLAN_DEFAULTS,
  type PlanOptions,
} from "../../lib/attention/plan.ts";
import { DEVICE_WISHES } from "../../lib/device/open.ts";
import { UsageError } from "../../lib/errors.ts";
import { type CheckedLoad, LOAD_DEFAULTS, LOAD_RANGES } from "../../lib/engine/options.ts";
import { COMPUTE_DTYPES, type ComputeDType } from "../../lib/model/precision.ts";
import { choiceFlag, decimalFlag, switchFlag, wholeFlag } from "./flags.ts";

/** What `-a` takes. */
export const MODES: readonly AttentionMode[] = ATTENTION_MODES;

/** What `-a` means, for help texts. */
export const MODE_HELP =
  "dense (context and query tokenized as one text, else each on its own), xattn (selected tiles), star (blocks with an anchor), starx " +
  "(both), ring (dense, the context spread over the processes) or ringx (ring with selected tiles)";

/** The flag of each option of the library, for messages of the command line. */
const FLAG_NAMES: Readonly<Record<string, string>> = {
  mode: "--attn_type",
  blockTokens: "--block_size",
  anchorTokens: "--anchor_block_size",
  stride: "--stride",
  threshold: "--threshold",
  merge: "--merge",
  device: "--device",
  precision: "--dtype",
  threads: "--threads",
  gpusPerRank: "--gpus_per_rank",
  processCount: "--nproc_per_node",
  tokensToGenerate: "--tokens_to_generate",
  topLogits: "--top_logits",
  stopWords: "--stop_words",
  sourceDir: "--source_dir",
};

/** A message of the library, with the names that options have on the command line. */
export function withFlagNames(message: string): string {
  return message.replaceAll(
    /'([A-Za-z]+)'/g,
    (quoted, name: string) => Object.hasOwn(FLAG_NAMES, name) ? `'${FLAG_NAMES[name]}'` : quoted,
  );
}

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
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
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
  max: LOAD_RANGES.gpusPerRank.max,
  machine: true,
  help: "GPUs of each process that the model's layers are spread over; 0 takes the fewest that " +
    "weights and context fit on",
});

/** How to compute: the same for every command that runs the model. */
export const ENGINE_FLAGS = {
  stride: wholeFlag({
    default: PLAN_DEFAULTS.stride,
    help: "tokens per group of the antidiagonal sums, a divisor of 128 (xattn, starx, ringx)",
  }),
  threshold: decimalFlag({
    default: PLAN_DEFAULTS.threshold,
    help: "share of a row's antidiagonal mass that the selected tiles must hold, above 0 and at " +
      "most 1; 1 selects every tile (xattn, starx, ringx)",
  }),
  merge: choiceFlag(MERGE_RULES, {
    default: PLAN_DEFAULTS.merge,
    help: "how phase 2 merges the processes' parts; 'antidiagonal' is the per-process weighting " +
      "of StarXAttention, kept for comparison: it loses most of the accuracy (star, starx)",
  }),
  device: choiceFlag(DEVICE_WISHES, {
    default: LOAD_DEFAULTS.device,
    machine: true,
    help: "where to compute; auto takes a usable GPU, or else the CPU",
  }),
  dtype: choiceFlag(COMPUTE_DTYPES, {
    default: LOAD_DEFAULTS.precision,
    help: "what keys, values and the inputs of matrix products are rounded to; a GPU takes bf16",
  }),
  threads: wholeFlag({
    default: LOAD_DEFAULTS.threads,
    max: LOAD_RANGES.threads.max,
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
    default: LOAD_DEFAULTS.timeoutMs / 1000,
    machine: true,
    value: "SECONDS",
    help: "how long a process may make no progress before it counts as lost",
  }),
} as const;

/** The engine's option; undefined for as few as are enough. */
export function gpusPerRank(flags: Pick<EngineFlags, "gpus_per_rank">): number | undefined {
  return flags.gpus_per_rank === 0 ? undefined : flags.gpus_per_rank;
}

/** What the plan's flags ask for; `checkPlan()` has still to look at it. */
export function planOf(flags: PlanFlags): PlanOptions {
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
): Pick<CheckedLoad, "device" | "threads" | "gpusPerRank" | "timeoutMs" | "copyWeights"> & {
  dtype: ComputeDType;
} {
  const { device, dtype, threads, timeout, copy_weights: copyWeights } = flags;
  const { min, max } = LOAD_RANGES.timeoutMs;
  if (!(timeout * 1000 >= min && timeout * 1000 <= max)) {
    throw new UsageError(
      `--timeout: must be from ${min / 1000} to ${max / 1000} seconds: current value is ${timeout}`,
    );
  }
  const timeoutMs = Math.round(timeout * 1000);
  return { device, dtype, threads, gpusPerRank: gpusPerRank(flags), timeoutMs, copyWeights };
}
