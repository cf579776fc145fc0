/**
 * The flags of `sweep`.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS, MODES } from "../shared/engine_flags.ts";
import {
  choicesFlag,
  decimalsFlag,
  switchFlag,
  textFlag,
  textsFlag,
  wholeFlag,
  wholesFlag,
} from "../shared/flags.ts";
import {
  CWE_FLAG,
  DEMO_TASKS,
  GENERATORS_FLAG,
  MAX_LENGTH,
  MODEL_FLAG,
  PROCESSES_FLAG,
  SOURCE_HELP,
  TASKS_FILE_FLAG,
  TEMPLATE_HELP,
} from "../shared/run_flags.ts";
import { AXES } from "./axes.ts";
import type { Shard } from "./options.ts";
import type { Grid } from "./settings.ts";

// Several of these make the settings; one merge and one selection of one's own are a model's.
const {
  stride: _stride,
  threshold: _threshold,
  rest: _rest,
  merge: _merge,
  decode_keep: _keep,
  select: _select,
  ...engineFlags
} = ENGINE_FLAGS;

/** `sweep`. */
export const SWEEP = defineCommand({
  name: "sweep",
  summary: "run RULER with many settings of the attention, by a model that is loaded once",
  ranks: "first",
  flags: {
    output_dir: textFlag({
      short: "-o",
      value: "FOLDER",
      required: true,
      help: "the sweep's folder: data, records, sweep.csv, tasks.csv and report.html; a later " +
        "sweep of the same model may add settings, lengths, tasks and samples",
    }),
    model_path: MODEL_FLAG,
    prompt_config: textFlag({
      short: "-pc",
      value: "TEMPLATE",
      required: true,
      help: TEMPLATE_HELP,
    }),
    attn_type: choicesFlag(MODES, {
      short: "-a",
      value: "MODE...",
      help: "the modes; every combination of these flags is a setting, of those that a mode has",
    }),
    block_size: textsFlag({
      short: "-bs",
      value: "N|A/B...",
      help: "tokens per context block, or their share of the length: 1024, 1/4 (star, starx)",
    }),
    anchor_block_size: textsFlag({
      short: "-as",
      value: "N|A/B...",
      help: "the same of the anchor block (default: the block size)",
    }),
    stride: wholesFlag({
      min: 1,
      help: `tokens per group of the antidiagonal sums (default: ${ENGINE_FLAGS.stride.fallback})`,
    }),
    threshold: textsFlag({
      value: "X|share:X|FILE...",
      help:
        "thresholds of the selection, numbers, shares or files of tables, in whose paths {mode}, " +
        "{length} and {stride} stand for a setting's " +
        `(default: ${ENGINE_FLAGS.threshold.fallback})`,
    }),
    density: decimalsFlag({
      help: "beside or in place of thresholds: shares of the tiles, for which tables are chosen " +
        "from --curves as calibrate --density does",
    }),
    rest: textsFlag({
      value: "RULE...",
      help: "drop, mean, or both: what becomes of tiles that are not selected " +
        `(default: ${ENGINE_FLAGS.rest.fallback})`,
    }),
    decode_keep: textsFlag({
      value: "S|tau:T...",
      help:
        "what phase 2 reads of the context's keys: shares of its tiles, or thresholds (default: " +
        `${ENGINE_FLAGS.decode_keep.fallback}); the model is loaded anew for each, and in star and ` +
        "starx for each size of blocks",
    }),
    curves: textFlag({
      value: "FILE",
      help: "what calibrate has measured, FILE.curves.jsonl; may have {mode}, {length} and " +
        "{stride} in its path",
    }),
    settings: textFlag({
      value: "FILE",
      help: "further settings: JSON, an object or an array of objects whose keys are the flags " +
        "above and whose values are lists",
    }),
    seq_lengths: wholesFlag({
      short: "-l",
      min: 1,
      max: MAX_LENGTH,
      kilo: true,
      required: true,
      help: "lengths of the prompts in tokens: 4096 8192, or 4k,8k",
    }),
    tasks: textsFlag({
      short: "-t",
      value: "NAME...",
      default: DEMO_TASKS,
      help: "RULER's tasks, or those of --tasks_file",
    }),
    tasks_file: TASKS_FILE_FLAG,
    generators: GENERATORS_FLAG,
    num_samples_per_task: wholeFlag({ min: 1, default: 100, help: "samples per task and length" }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
    cwe_freq: CWE_FLAG,
    stop_at_eos: switchFlag({ help: "ends an answer at the model's end-of-sequence ids" }),
    nproc_per_node: PROCESSES_FLAG,
    shard: textFlag({
      value: "I/N",
      help: "the I-th of N parts of the work, for machines that do not share a folder, whose " +
        "folders are then copied into one; processes that share one need no shards",
    }),
    no_report: switchFlag({ help: "writes no report.html at the end" }),
    ...engineFlags,
  },
  notes: [
    "Several processes may run the same command at once: each takes settings and tasks that no " +
    "other one has. Running it again continues: finished samples are kept, whatever ended the " +
    "run before. docs/selection.md has examples.",
  ],
  run: async (flags, context) => {
    const { gridOfFlags, readGrids } = await import("./settings.ts");
    const { engineOptions } = await import("../shared/engine_flags.ts");
    const { runSweep } = await import("./sweep.ts");
    const grids: Grid[] = [];
    const { attn_type, settings } = flags;
    if (attn_type !== undefined) {
      grids.push(gridOfFlags({ ...flags, attn_type: MODES.filter((m) => attn_type.includes(m)) }));
    } else {
      const name = AXES.map(({ name }) => name).find((name) => flags[name] !== undefined);
      if (name !== undefined) throw new UsageError(`--${name}: takes --attn_type beside it`);
    }
    if (settings !== undefined) grids.push(...await readGrids(settings));
    if (grids.length === 0) throw new UsageError("--attn_type or --settings is required");
    const { selectModule: _module, ...engine } = engineOptions({ ...flags, select: undefined });
    await runSweep({
      ...engine,
      modelPath: await findModelFolder(flags.model_path),
      outputDir: flags.output_dir.replace(/(?<=.)\/+$/, ""),
      template: flags.prompt_config,
      grids,
      curvesPath: flags.curves,
      lengths: flags.seq_lengths,
      tasks: flags.tasks,
      sampleCount: flags.num_samples_per_task,
      processCount: flags.nproc_per_node,
      shard: shardOf(flags.shard),
      sourceDir: flags.source_dir,
      cweFrequencies: flags.cwe_freq,
      generators: flags.generators,
      tasksFile: flags.tasks_file,
      stopAtEos: flags.stop_at_eos,
      withReport: !flags.no_report,
    }, context);
  },
});

/** @throws {UsageError} If it is no part of a whole. */
function shardOf(text: string | undefined): Shard | undefined {
  if (text === undefined) return undefined;
  const [, part, whole] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const [index, count] = [Number(part) - 1, Number(whole)];
  if (index >= 0 && index < count) return { index, count };
  throw new UsageError(`--shard: must be a part such as 1/4: current value is '${text}'`);
}
