/**
 * The flags of the `bench` command.
 *
 * @module
 */
import { CACHE_FLAG, HEAD_FLAG, weightOptionsOf, WEIGHTS_FLAG } from "../shared/weights.ts";
import { type AttentionMode, PLAN_DEFAULTS } from "../../lib/attention/plan.ts";
import { DEVICE_WISHES } from "../../lib/device/open.ts";
import { BATCH_RANGE } from "../../lib/engine/batch_size.ts";
import { UsageError } from "../../lib/errors.ts";
import { isFolder } from "../../lib/files.ts";
import { COMPUTE_DTYPES } from "../../lib/model/precision.ts";
import { modelShape, SHAPE_NAMES } from "../../lib/model/shapes.ts";
import { readConfig, readConfigFile } from "../../lib/model/config.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { BENCH_FORMATS, type BenchOptions, PROMPT_KINDS } from "./options.ts";
import { MODEL_HELP, SOURCE_HELP } from "../shared/run_flags.ts";
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
import { DECODE_KEEP_FLAG, decodeKeepOf } from "../shared/decode_keep_flag.ts";
import { REST_FLAG, THRESHOLD_FLAG, thresholdOf } from "../shared/threshold_flag.ts";

/** The flags; several of them take lists. */
export const BENCH_FLAGS = {
  model_path: textFlag({
    short: "-p",
    value: "FOLDER",
    help: `${MODEL_HELP}; or else --shape`,
  }),
  shape: textFlag({
    value: "NAME|FILE",
    help: `takes random weights instead of a model's: of ${SHAPE_NAMES.join(", ")}, or of any ` +
      "config.json (a path with a slash or an ending, or its folder)",
  }),
  input_path: textFlag({
    value: "FILE",
    help:
      "times one's own prompts instead, one after the other (JSON lines as infer takes them): " +
      "seconds, tokens per second, time to the first token",
  }),
  num_samples: wholeFlag({
    min: -1,
    default: -1,
    help: "only the first N prompts of --input_path; -1 for all",
  }),
  prompt: choiceFlag(PROMPT_KINDS, {
    help: "what is prefilled: text (RULER's essays, or sentences as in its niah_multikey_2 where " +
      "they are not there) or random tokens, of which selection takes another share of the tiles " +
      "(default: text where there is a tokenizer)",
  }),
  source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
  device: choiceFlag(DEVICE_WISHES, { default: "auto", help: "where to compute" }),
  dtype: choiceFlag(COMPUTE_DTYPES, {
    default: "bf16",
    help: "what keys, values and the inputs of matrix products are rounded to",
  }),
  weights: WEIGHTS_FLAG,
  head: HEAD_FLAG,
  cache: CACHE_FLAG,
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
  decode_tokens: wholeFlag({
    min: 2,
    default: 32,
    help: "generated tokens per context length, or per prompt of --input_path",
  }),
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
  threshold: THRESHOLD_FLAG,
  rest: REST_FLAG,
  decode_keep: DECODE_KEEP_FLAG,
  density: decimalFlag({
    help: "sets the share of selected tiles, above 0 and at most 1; they are drawn at random, " +
      "mass and selection still run",
  }),
  repeats: wholeFlag({ min: 1, max: 1000, default: 3, help: "timed runs per length or prompt" }),
  copy_weights: switchFlag({
    help: "reads weights into memory, in huge pages where the system gives them, instead of " +
      "mapping their files",
  }),
  kernels: switchFlag({
    help:
      "times each op at the model's shape and these lengths instead, beside what the measured " +
      "rates of products and of reading memory allow",
  }),
  start_timeout: START_TIMEOUT_FLAG,
  job_key: JOB_KEY_FLAG,
  format: choiceFlag(BENCH_FORMATS, {
    default: "table",
    help: "how measurements are printed, each when it is there",
  }),
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
    "decoding is the median of those generated after the context; ± is the standard deviation of " +
    "the runs, or of the steps. With random weights nothing is sparse by itself: give --density " +
    "for xattn, starx and ringx.",
    "What was measured is printed and kept, whatever fails or is interrupted later; --json and " +
    "--json_path have their lines at the end.",
    "Several processes start together, and the slowest one counts. Decoding spreads the context's " +
    "keys and values over them in whole blocks, so take a --block_size that gives each one some.",
  ],
} as const satisfies CommandHelp;

/**
 * Turns flags into options.
 *
 * @throws {UsageError} If neither or both of model and shape are given, or flags do not go together.
 * @throws {FileError} If a shape's file cannot be read.
 */
export async function benchOptions(
  values: FlagValues<typeof BENCH_FLAGS>,
): Promise<BenchOptions> {
  const { density } = values;
  checkTogether(values);
  const model = await benchModel(values);
  if (density !== undefined && !(density > 0 && density <= 1)) {
    throw new UsageError(
      `--density: must be above 0 and at most 1: current value is '${density}'`,
    );
  }
  return {
    model,
    device: values.device,
    dtype: values.dtype,
    ...weightOptionsOf({ ...values, keep_weights: false }),
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
    threshold: thresholdOf(values.threshold),
    rest: values.rest,
    decodeKeep: decodeKeepOf(values.decode_keep),
    density,
    repeats: values.repeats,
    copyWeights: values.copy_weights,
    kernels: values.kernels,
    prompt: values.prompt,
    sourceDir: values.source_dir,
    format: values.format,
    json: values.json,
    jsonPath: values.json_path,
    ...(values.input_path === undefined
      ? {}
      : { input: { path: values.input_path, limit: values.num_samples } }),
  };
}

/** @throws {UsageError} If a flag has no meaning beside another one. */
function checkTogether(values: FlagValues<typeof BENCH_FLAGS>): void {
  const refuse = (flag: string, rule: string, value: unknown): never => {
    throw new UsageError(`${flag}: ${rule}: current value is '${value}'`);
  };
  const { input_path: input, format, json, json_path: jsonPath, kernels, prompt } = values;
  if (json && format !== "table") refuse("--format", "must be absent with --json", format);
  if (kernels && format !== "table") refuse("--format", "must be absent with --kernels", format);
  if (prompt === "text" && values.shape !== undefined) {
    refuse("--prompt", "must be random with --shape, which has no tokenizer", prompt);
  }
  if (input === undefined) return;
  if (kernels) refuse("--input_path", "must be absent with --kernels", input);
  if (values.shape !== undefined) refuse("--input_path", "needs --model_path, not --shape", input);
  if (json || jsonPath !== undefined) refuse("--input_path", "goes with --format jsonl", input);
  if (values.batch_size > 1) {
    refuse("--batch_size", "must be 1 with --input_path", values.batch_size);
  }
  if (values.density !== undefined) {
    refuse("--density", "must be absent with --input_path", values.density);
  }
}

async function benchModel(
  values: FlagValues<typeof BENCH_FLAGS>,
): Promise<BenchOptions["model"]> {
  const { model_path: folder, shape: name } = values;
  if (folder !== undefined && name === undefined) {
    return { kind: "folder", folder: await findModelFolder(folder) };
  }
  if (folder === undefined && name !== undefined) {
    return { kind: "shape", name, config: await shapeNamed(name) };
  }
  throw new UsageError(
    `--model_path: either it or --shape must be given: current value is '${folder ?? ""}'`,
  );
}

/** A shape of the table, or of a `config.json`. */
async function shapeNamed(name: string): Promise<ModelShape> {
  const known = modelShape(name);
  if (known !== undefined) return known;
  if (!/[./]/.test(name)) {
    throw new UsageError(
      `--shape: must be one of ${SHAPE_NAMES.join(", ")}, or a config.json (a path with a slash ` +
        `or an ending): current value is '${name}'`,
    );
  }
  return await isFolder(name) ? await readConfig(name) : await readConfigFile(name);
}
