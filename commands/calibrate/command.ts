/**
 * The flags of `calibrate`, and what becomes of them.
 *
 * @module
 */
import type { AttentionMode } from "../../lib/attention/plan.ts";
import { thresholdRecord, TILE_RULES } from "../../lib/attention/thresholds.ts";
import { UsageError } from "../../lib/errors.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS } from "../shared/engine_flags.ts";
import {
  choiceFlag,
  choicesFlag,
  decimalFlag,
  switchFlag,
  textFlag,
  wholeFlag,
  wholesFlag,
} from "../shared/flags.ts";
import {
  BLOCK_FLAGS,
  DEMO_TASKS,
  MAX_LENGTH,
  MODEL_FLAG,
  SOURCE_HELP,
  TASKS,
  TEMPLATE_HELP,
} from "../shared/run_flags.ts";
import { CALIBRATION_BY } from "./options.ts";
import { COMPARED, type Goal } from "./thresholds.ts";

// A process measures one prompt at a time, without a selection of one's own.
const {
  batch_size: _batch,
  select: _select,
  merge: _merge,
  rest: _rest,
  decode_keep: _keep,
  threshold: _threshold,
  ...engineFlags
} = ENGINE_FLAGS;

/** The modes whose tiles are those of blocks or of the whole. */
const MODES: readonly AttentionMode[] = ["xattn", "starx"];
const DEFAULT_SHARE = 0.9;

/** `calibrate`. */
export const CALIBRATE = defineCommand({
  name: "calibrate",
  summary: "find a threshold or a share for each head, by what it keeps of the attention",
  ranks: "first",
  flags: {
    model_path: MODEL_FLAG,
    output_path: textFlag({
      value: "FILE",
      required: true,
      help: "takes the thresholds, for --threshold; FILE.curves.jsonl beside it has what was " +
        "measured, so that the same command goes on",
    }),
    input_path: textFlag({
      value: "FILE",
      help: "prompts of one's own (JSON lines as infer takes them) in place of RULER's",
    }),
    attn_type: choiceFlag(MODES, {
      short: "-a",
      default: "xattn",
      help: "whose tiles are measured: xattn (the whole context) or starx (blocks with an anchor)",
    }),
    ...BLOCK_FLAGS,
    rule: choiceFlag(TILE_RULES, {
      default: "threshold",
      help: "what is found: thresholds, which the largest tiles of a row must hold together, or " +
        "shares, which each tile must hold by itself",
    }),
    threshold: textFlag({
      value: "X|share:X",
      help: "one number for all heads, which the found ones are compared with (default: " +
        `${TILE_RULES.map((rule) => thresholdRecord(COMPARED[rule])).join(" or ")})`,
    }),
    keep: decimalFlag({
      help:
        `the share of its attention that each head is to keep (default: ${DEFAULT_SHARE}); the ` +
        "thresholds of the prompts are averaged",
    }),
    density: decimalFlag({
      help: "instead: the share of the tiles that all heads together may compute; they are given " +
        "to heads where they keep most",
    }),
    mean_keep: decimalFlag({
      help: "instead: the share that heads are to keep on average, with as few tiles as that takes",
    }),
    by: choiceFlag(CALIBRATION_BY, {
      default: "attention",
      help: "what tiles are given by: the attention that they hold, or with --rule share and " +
        "--density that attention weighed by what the answers lose without it, layer by layer",
    }),
    prompt_config: textFlag({
      short: "-pc",
      value: "TEMPLATE",
      default: "base",
      help: TEMPLATE_HELP,
    }),
    tasks: choicesFlag(TASKS, {
      short: "-t",
      default: DEMO_TASKS,
      help: "RULER's tasks whose prompts are measured; the samples are others than those of ruler",
    }),
    seq_lengths: wholesFlag({
      short: "-l",
      min: 1,
      max: MAX_LENGTH,
      kilo: true,
      default: [4096],
      help: "lengths of RULER's prompts in tokens",
    }),
    num_samples: wholeFlag({
      min: -1,
      default: 2,
      help: "prompts per task and length, or of --input_path (-1 for all)",
    }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
    nproc_per_node: wholeFlag({
      short: "-np",
      min: 1,
      max: 1024,
      default: 1,
      help:
        "processes that share the context in starx; in xattn each measures prompts of its own, " +
        "on GPUs at most one for each of them",
    }),
    overwrite: switchFlag({ help: "removes what was measured before" }),
    ...engineFlags,
  },
  notes: [
    "The attention of the prompts is exact. What is compared is the share of the tiles that are " +
    "computed, and of the attention that they hold. The file has both for each head. " +
    "docs/selection.md says what is computed.",
  ],
  run: async (flags, context) => {
    const goal = goalOf(flags);
    const { rule, by } = flags;
    if (by === "answers" && (rule !== "share" || goal.kind !== "density")) {
      throw new UsageError("--by answers: must be given with --rule share and --density");
    }
    const threshold = flags.threshold ?? String(thresholdRecord(COMPARED[rule]));
    const { runCalibrate } = await import("./calibrate.ts");
    const { engineOptions, planOf } = await import("../shared/engine_flags.ts");
    const { batchSize: _size, selectModule: _module, ...engine } = engineOptions(
      { ...flags, batch_size: "1", select: undefined },
    );
    const attn_type = flags.attn_type as AttentionMode;
    await runCalibrate({
      ...engine,
      modelPath: await findModelFolder(flags.model_path),
      outputPath: flags.output_path,
      inputPath: flags.input_path,
      template: flags.prompt_config,
      tasks: flags.tasks,
      lengths: flags.seq_lengths,
      sampleCount: checkCount(flags),
      sourceDir: flags.source_dir,
      plan: planOf({
        ...flags,
        threshold,
        attn_type,
        merge: "lse",
        rest: "drop",
        decode_keep: "1",
      }),
      rule,
      by,
      goal,
      processCount: flags.nproc_per_node,
      overwrite: flags.overwrite,
    }, context);
  },
});

function checkCount(flags: { num_samples: number; input_path: string | undefined }): number {
  const { num_samples: count, input_path: input } = flags;
  if (count > 0 || (count === -1 && input !== undefined)) return count;
  throw new UsageError(`--num_samples: must be above 0: current value is ${count}`);
}

/** @throws {UsageError} If more than one is given, or one is out of its range. */
function goalOf(
  flags: {
    keep: number | undefined;
    density: number | undefined;
    mean_keep: number | undefined;
  },
): Goal {
  const { keep, density, mean_keep: mean } = flags;
  const given = Object.entries({ keep, density, mean_keep: mean })
    .filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const names = given.map(([name]) => `--${name}`).join(" and ");
    throw new UsageError(`${names}: must not be given together: they are goals of their own`);
  }
  for (const [name, value] of given) {
    if (value !== undefined && value > 0 && value <= 1) continue;
    throw new UsageError(`--${name}: must be above 0 and at most 1: current value is ${value}`);
  }
  if (density !== undefined) return { kind: "density", density };
  if (mean !== undefined) return { kind: "mean keep", share: mean };
  return { kind: "keep", share: keep ?? DEFAULT_SHARE };
}
