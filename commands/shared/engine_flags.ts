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
import type { RestRule } from "../../lib/attention/rest.ts";
import { type SelectModule, selectModuleOf } from "../../lib/attention/select_module.ts";
import { DEVICE_WISHES } from "../../lib/device/open.ts";
import { UsageError } from "../../lib/errors.ts";
import { type CheckedLoad, LOAD_DEFAULTS, LOAD_RANGES } from "../../lib/engine/options.ts";
import { COMPUTE_DTYPES, type ComputeDType } from "../../lib/model/precision.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import {
  choiceFlag,
  decimalFlag,
  expandNames,
  type FlagTable,
  switchFlag,
  textFlag,
  wholeFlag,
} from "./flags.ts";
import { DECODE_KEEP_FLAG, decodeKeepOf } from "./decode_keep_flag.ts";
import { WEIGHT_FLAGS, type WeightFlags, type WeightOptions, weightOptionsOf } from "./weights.ts";
import { REST_FLAG, THRESHOLD_FLAG, thresholdOf } from "./threshold_flag.ts";

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
  rest: "--rest",
  merge: "--merge",
  decodeKeep: "--decode_keep",
  device: "--device",
  precision: "--dtype",
  weights: "--weights",
  head: "--head",
  cache: "--cache",
  keepWeights: "--keep_weights",
  threads: "--threads",
  gpusPerRank: "--gpus_per_rank",
  processCount: "--nproc_per_node",
  tokensToGenerate: "--tokens_to_generate",
  topLogits: "--top_logits",
  stopWords: "--stop_words",
  sourceDir: "--source_dir",
  batchSize: "--batch_size",
  replicas: "--replicas",
  ropeScaling: "--rope_scaling",
  selectModule: "--select",
};

/** A message of the library, with the names that options have on the command line. */
export function withFlagNames(message: string): string {
  return message.replaceAll(
    /'([A-Za-z]+)(?:\.[A-Za-z]+)?'/g,
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
  /** A number, or a file. */
  readonly threshold: string;
  readonly rest: RestRule;
  readonly merge: MergeRule;
  /** A share, or a threshold. */
  readonly decode_keep: string;
}

/** Values of the flags of the device. */
export interface EngineFlags extends WeightFlags {
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
  readonly threads: number;
  /** 0 for as few as are enough. */
  readonly gpus_per_rank: number;
  /** `auto` or a number. */
  readonly batch_size: string;
  readonly replicas: number;
  /** In seconds. */
  readonly timeout: number;
  readonly start_timeout: number;
  readonly copy_weights: boolean;
  readonly rope_scaling: string | undefined;
  readonly select: string | undefined;
}

/** How many GPUs a process spreads the layers over. */
export const GPUS_FLAG = wholeFlag({
  default: 0,
  max: LOAD_RANGES.gpusPerRank.max,
  machine: true,
  help: "GPUs of each process that the model's layers are spread over; 0 takes the fewest that " +
    "weights and context fit on",
});

/** How long processes may take to come. */
export const START_TIMEOUT_FLAG = decimalFlag({
  default: LOAD_DEFAULTS.startTimeoutMs / 1000,
  value: "SECONDS",
  help: "how long a process may take to start and to meet the others",
});

/** What ranks know each other by without MPI. */
export const JOB_KEY_FLAG = textFlag({
  value: "FILE",
  machine: true,
  help: "holds the secret that launched processes without MPI have in common; by default " +
    "STARX_JOB_KEY is the secret",
});

/** How to compute: the same for every command that runs the model. */
export const ENGINE_FLAGS = {
  stride: wholeFlag({
    default: PLAN_DEFAULTS.stride,
    help: "tokens per group of the antidiagonal sums, a divisor of 128 (xattn, starx, ringx)",
  }),
  threshold: THRESHOLD_FLAG,
  rest: REST_FLAG,
  merge: choiceFlag(MERGE_RULES, {
    default: PLAN_DEFAULTS.merge,
    help: "how phase 2 merges the processes' parts; 'antidiagonal' is the per-process weighting " +
      "of StarXAttention, kept for comparison: it loses most of the accuracy (star, starx)",
  }),
  decode_keep: DECODE_KEEP_FLAG,
  device: choiceFlag(DEVICE_WISHES, {
    default: LOAD_DEFAULTS.device,
    machine: true,
    help: "where to compute; auto takes a usable GPU, or else the CPU",
  }),
  dtype: choiceFlag(COMPUTE_DTYPES, {
    default: LOAD_DEFAULTS.precision,
    help: "what keys, values and the inputs of matrix products are rounded to; a GPU takes bf16",
  }),
  ...WEIGHT_FLAGS,
  threads: wholeFlag({
    default: LOAD_DEFAULTS.threads,
    max: LOAD_RANGES.threads.max,
    machine: true,
    help: "threads of each process; 0 divides the cores among the processes",
  }),
  gpus_per_rank: GPUS_FLAG,
  batch_size: textFlag({
    short: "-b",
    value: "auto|N",
    default: "auto",
    machine: true,
    help: "samples that are decoded at once, at most, as memory has room for them; auto takes as " +
      "many as pay. It changes no bit of any result",
  }),
  replicas: wholeFlag({
    default: LOAD_DEFAULTS.replicas,
    ...LOAD_RANGES.replicas,
    machine: true,
    help: "copies of the model, each with its processes and GPUs, that share the samples",
  }),
  rope_scaling: textFlag({
    value: "JSON",
    help: "stretches the model: stands in place of config.json's rope_scaling, for example " +
      `'{"rope_type": "yarn", "factor": 4}'`,
  }),
  select: textFlag({
    value: "MODULE",
    help: "a module of one's own that selects tiles in place of the threshold, or looks at them " +
      "(xattn, starx, ringx); docs/extend.md has one",
  }),
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
  start_timeout: START_TIMEOUT_FLAG,
  job_key: JOB_KEY_FLAG,
} as const;

/** The engine's option; undefined for as few as are enough. */
export function gpusPerRank(flags: Pick<EngineFlags, "gpus_per_rank">): number | undefined {
  return flags.gpus_per_rank === 0 ? undefined : flags.gpus_per_rank;
}

/**
 * What the plan's flags ask for; `checkPlan()` has still to look at it.
 *
 * @throws {UsageError} If the threshold is neither a number nor a file, or what is kept is no share.
 * @throws {FileError} If its file holds no thresholds.
 */
export function planOf(flags: PlanFlags): PlanOptions {
  const { attn_type: mode, block_size: block, anchor_block_size: anchor } = flags;
  const blockTokens = block === -1 ? undefined : block;
  return {
    mode,
    blockTokens,
    anchorTokens: anchor === -1 ? blockTokens : anchor,
    stride: flags.stride,
    threshold: thresholdOf(flags.threshold),
    rest: flags.rest,
    merge: flags.merge,
    decodeKeep: decodeKeepOf(flags.decode_keep),
  };
}

/**
 * The engine's options.
 *
 * @throws {UsageError} If a time-out is out of its range.
 */
export function engineOptions(
  flags: EngineFlags,
):
  & Pick<
    CheckedLoad,
    "device" | "threads" | "gpusPerRank" | "copyWeights" | "batchSize" | "replicas"
  >
  & Pick<CheckedLoad, "timeoutMs" | "startTimeoutMs" | "ropeScaling">
  & WeightOptions
  & { dtype: ComputeDType; selectModule: SelectModule | undefined } {
  const { device, dtype, threads, timeout, start_timeout, copy_weights: copyWeights } = flags;
  const timeoutMs = milliseconds("timeoutMs", { flag: "--timeout", seconds: timeout });
  const startTimeoutMs = startTimeoutMsOf(start_timeout);
  const times = { timeoutMs, startTimeoutMs };
  const batchSize = batchSizeOf(flags.batch_size);
  const base = { device, dtype, threads, gpusPerRank: gpusPerRank(flags), copyWeights };
  const ropeScaling = ropeScalingOf(flags.rope_scaling);
  const selectModule = flags.select === undefined
    ? undefined
    : selectModuleOf({ action: "select tiles", name: "selectModule" }, flags.select);
  return {
    ...base,
    ...weightOptionsOf(flags),
    batchSize,
    replicas: flags.replicas,
    ...times,
    ropeScaling,
    selectModule,
  };
}

/** @throws {UsageError} If it is not a JSON object. */
function ropeScalingOf(text: string | undefined): CheckedLoad["ropeScaling"] {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // What it is instead is said below.
  }
  throw new UsageError(`--rope_scaling: must be a JSON object: current value is '${text}'`);
}

/** @throws {UsageError} If it is out of its range. */
export function startTimeoutMsOf(seconds: number): number {
  return milliseconds("startTimeoutMs", { flag: "--start_timeout", seconds });
}

/**
 * The start's time-out of a command line that is not parsed yet: the ranks of a launcher meet before
 * one of them runs the command, which then says what is wrong with its flags.
 */
export function startTimeoutOf(args: readonly string[], table: FlagTable): number {
  const seconds = Number(textOf(args, { table, name: "start_timeout" }) ?? NaN);
  const { min, max } = LOAD_RANGES.startTimeoutMs;
  const isUsable = seconds * 1000 >= min && seconds * 1000 <= max;
  return isUsable ? Math.round(seconds * 1000) : LOAD_DEFAULTS.startTimeoutMs;
}

/**
 * `auto`, or a number.
 *
 * @throws {UsageError} If it is neither.
 */
function batchSizeOf(text: string): number | "auto" {
  if (text === "auto") return text;
  const { min, max } = LOAD_RANGES.batchSize;
  const value = /^[0-9]+$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(
    `--batch_size: must be auto or a whole number from ${min} to ${max}: current value is '${text}'`,
  );
}

/** The file of `--job_key`; as `startTimeoutOf()`. */
export function jobKeyFileOf(args: readonly string[], table: FlagTable): string | undefined {
  return textOf(args, { table, name: "job_key" });
}

/** What a flag was last given; undefined where the command says that the flags cannot be used. */
function textOf(
  args: readonly string[],
  options: { table: FlagTable; name: string },
): string | undefined {
  const flag = `--${options.name}`;
  let words: string[];
  try {
    words = expandNames(options.table, args);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
  const at = words.findLastIndex((word) => word === flag || word.startsWith(`${flag}=`));
  return at < 0 ? undefined : words[at]?.slice(flag.length + 1) || words[at + 1];
}

function milliseconds(
  name: "timeoutMs" | "startTimeoutMs",
  options: { flag: string; seconds: number },
): number {
  const { flag, seconds } = options;
  const { min, max } = LOAD_RANGES[name];
  if (seconds * 1000 >= min && seconds * 1000 <= max) return Math.round(seconds * 1000);
  throw new UsageError(
    `${flag}: must be from ${min / 1000} to ${max / 1000} seconds: current value is ${seconds}`,
  );
}
