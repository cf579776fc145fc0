/**
 * The flags of the `bench` command.
 *
 * @module
 */
import { type AttentionMode, PLAN_DEFAULTS } from "../../lib/attention/plan.ts";
import { DEVICE_WISHES } from "../../lib/device/open.ts";
import { BATCH_RANGE } from "../../lib/engine/batch_size.ts";
import { UsageError } from "../../lib/errors.ts";
import { COMPUTE_DTYPES } from "../../lib/model/precision.ts";
import { modelShape, SHAPE_NAMES } from "../../lib/model/shapes.ts";
import type { BenchOptions } from "./options.ts";
import {
  GPUS_FLAG,
  gpusPerRank,
  JOB_KEY_FLAG,
  MODES,
  START_TIMEOUT_FLAG,
  startTimeoutMsOf,
} from "../shared/engine_flags.ts";
import {
  choiceFlag,
  choicesFlag,
  decimalFlag,
  type FlagValues,
  switchFlag,
  textFlag,
  wholeFlag,
  wholesFlag,
} from "../shared/flags.ts";
import type { CommandHelp } from "../shared/help.ts";

/** The flags; several of them take lists. */
export const BENCH_FLAGS = {
  model_path: textFlag({
    short: "-p",
    value: "FOLDER",
    help: "a Llama model in Hugging Face's format; or else --shape",
  }),
  shape: choiceFlag(SHAPE_NAMES, {
    help: "takes random weights of this shape instead of a model's",
  }),
  device: choiceFlag(DEVICE_WISHES, { default: "auto", help: "where to compute" }),
  dtype: choiceFlag(COMPUTE_DTYPES, {
    default: "bf16",
    help: "what keys, values and the inputs of matrix products are rounded to",
  }),
  threads: wholeFlag({ default: 0, max: 256, help: "threads of an op; 0 takes all cores" }),
  nproc_per_node: wholeFlag({
    short: "-np",
    min: 1,
    max: 1024,
    default: 1,
    help:
      "processes that share the context in star, starx, ring and ringx; under mpirun, srun or " +
      "torchrun all ranks that were started are used",
  }),
  gpus_per_rank: GPUS_FLAG,
  attn_type: choicesFlag(MODES, { short: "-a", default: ["dense"], help: "attention modes" }),
  lengths: wholesFlag({ short: "-l", min: 1, default: [512, 2048], help: "tokens to prefill" }),
  decode: wholesFlag({ min: 1, default: [], help: "context lengths at which to time decoding" }),
  decode_tokens: wholeFlag({ min: 2, default: 32, help: "generated tokens per context length" }),
  batch_size: wholeFlag({
    short: "-b",
    ...BATCH_RANGE,
    default: 1,
    help: "sequences that are decoded together, each after a context of its own",
  }),
  block_size: wholeFlag({ short: "-bs", min: 1, default: 4096, help: "tokens per context block" }),
  anchor_block_size: wholeFlag({
    short: "-as",
    min: 1,
    help: "tokens of the anchor block (default: --block_size)",
  }),
  stride: wholeFlag({
    min: 1,
    default: PLAN_DEFAULTS.stride,
    help: "tokens per group of the antidiagonal sums",
  }),
  threshold: decimalFlag({
    default: PLAN_DEFAULTS.threshold,
    help: "share of the mass that selected tiles hold",
  }),
  density: decimalFlag({
    help: "sets the share of selected tiles, above 0 and at most 1; they are drawn at random, " +
      "mass and selection still run",
  }),
  repeats: wholeFlag({ min: 1, max: 1000, default: 3, help: "timed runs per length" }),
  kernels: switchFlag({
    help:
      "times each op at the model's shape and these lengths instead, beside what the measured " +
      "rates of products and copies allow",
  }),
  start_timeout: START_TIMEOUT_FLAG,
  job_key: JOB_KEY_FLAG,
  json: switchFlag({ help: "prints JSON: per mode a line of details, then a line of times" }),
  json_path: textFlag({ value: "FILE", help: "appends the lines of details to a file, too" }),
} as const;

/** What the program's help says of the command. */
export const BENCH_HELP = {
  name: "bench",
  summary: "times prefill and decoding, and says where the time goes",
  flags: BENCH_FLAGS,
  notes: [
    "With --kernels, products have at most 16,384 rows (512 on a CPU), attention as many queries as " +
    "keys, and block-sparse attention a share of --density, or else 0.1.",
    "A prefill's time is from an empty context to the last token's logits. A token's time in " +
    "decoding is the median of those generated after the context. Without natural text, blocks " +
    "are not sparse: give --density for xattn, starx and ringx.",
    "Several processes start together, and the slowest one counts. Decoding spreads the context's " +
    "keys and values over them in whole blocks, so take a --block_size that gives each one some.",
  ],
} as const satisfies CommandHelp;

/**
 * Turns flags into options.
 *
 * @throws {UsageError} If neither or both of model and shape are given, or density is out of range.
 */
export function benchOptions(values: FlagValues<typeof BENCH_FLAGS>): BenchOptions {
  const { density } = values;
  const model = benchModel(values);
  if (density !== undefined && !(density > 0 && density <= 1)) {
    throw new UsageError(
      `--density: must be above 0 and at most 1: current value is '${density}'`,
    );
  }
  return {
    model,
    device: values.device,
    dtype: values.dtype,
    threads: values.threads,
    gpusPerRank: gpusPerRank(values),
    processCount: values.nproc_per_node,
    startTimeoutMs: startTimeoutMsOf(values.start_timeout),
    modes: values.attn_type as readonly AttentionMode[],
    lengths: values.lengths,
    decodeContexts: values.decode,
    decodeTokens: values.decode_tokens,
    batchSize: values.batch_size,
    blockTokens: values.block_size,
    anchorTokens: values.anchor_block_size ?? values.block_size,
    stride: values.stride,
    threshold: values.threshold,
    density,
    repeats: values.repeats,
    kernels: values.kernels,
    json: values.json,
    jsonPath: values.json_path,
  };
}

function benchModel(values: FlagValues<typeof BENCH_FLAGS>): BenchOptions["model"] {
  const { model_path: folder, shape: name = "" } = values;
  const config = modelShape(name);
  if (folder !== undefined && config === undefined) return { kind: "folder", folder };
  if (folder === undefined && config !== undefined) return { kind: "shape", name, config };
  throw new UsageError(
    `--model_path: either it or --shape must be given: current value is '${folder ?? ""}'`,
  );
}
