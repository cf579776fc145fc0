/**
 * The flags of `babilong`, spelled as those of `run_babilong.py` of NVIDIA/Star-Attention, and what
 * becomes of them.
 *
 * @module
 */
import { BABILONG_TASKS, SPLITS, USUAL_TASKS } from "../../babilong/tasks.ts";
import { UsageError } from "../../lib/errors.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { FORMATS } from "../results/formats.ts";
import { runElsewhere, suiteOptions } from "../ruler/suite_run.ts";
import { type Command, defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS, MODE_HELP, MODES } from "../shared/engine_flags.ts";
import {
  choiceFlag,
  choicesFlag,
  switchFlag,
  textFlag,
  wholeFlag,
  wholesFlag,
} from "../shared/flags.ts";
import {
  BLOCK_FLAGS,
  CONTINUE_NOTE,
  MODEL_FLAG,
  NODES_HELP,
  PROCESSES_HELP,
  TEMPLATE_HELP,
} from "../shared/run_flags.ts";

const LENGTHS = [...SPLITS].map(([tokens, split]) => `${tokens} (${split})`).join(", ");

const FLAGS = {
  model_name: textFlag({
    short: "-n",
    value: "NAME",
    required: true,
    help: "the experiment's name, the first part of its folder's",
  }),
  model_path: MODEL_FLAG,
  prompt_config: textFlag({
    short: "-pc",
    value: "TEMPLATE",
    required: true,
    help: TEMPLATE_HELP,
  }),
  attn_type: choiceFlag(MODES, { short: "-a", default: "star", help: MODE_HELP }),
  ...BLOCK_FLAGS,
  seq_lengths: wholesFlag({
    short: "-l",
    kilo: true,
    required: true,
    help: `lengths of the data set's splits: ${LENGTHS}`,
  }),
  tasks: choicesFlag(BABILONG_TASKS, {
    short: "-t",
    default: USUAL_TASKS,
    help: "BABILong's tasks, qa1 to qa20",
  }),
  pregen_data_dir: textFlag({
    short: "-d",
    value: "FOLDER",
    help: "prompts made before, as FOLDER/16k/qa1_16k.jsonl; a name without a slash may also " +
      "stand for dataset/NAME",
  }),
  num_samples_per_task: wholeFlag({ min: 1, default: 1000, help: "samples per task, at most" }),
  num_nodes: wholeFlag({ short: "-nn", min: 1, default: 1, help: NODES_HELP }),
  nproc_per_node: wholeFlag({
    short: "-np",
    min: 1,
    max: 1024,
    help: `${PROCESSES_HELP}; required in star, starx, ring and ringx`,
  }),
  output_dir: textFlag({ value: "FOLDER", default: "results", help: "folder of all results" }),
  stop_at_eos: switchFlag({
    help:
      "ends an answer at the model's end-of-sequence ids; the original goes on to the last token",
  }),
  overwrite: switchFlag({
    help: "removes earlier results of these lengths, whatever they were made with",
  }),
  format: choiceFlag(FORMATS, { default: "table", help: "what is printed at the end" }),
  log_samples: switchFlag({
    help: "writes samples_<task>_<date>.jsonl, too, in lm-evaluation-harness's form",
  }),
  source_dir: textFlag({
    value: "FOLDER",
    help: "holds babilong/<split>/<task>/*.parquet (default: STARX_DATA, or starx/data in the " +
      "user's cache folder)",
  }),
  ...ENGINE_FLAGS,
} as const;

const NOTES = [
  "'deno task data --benchmark babilong --splits 16k' fetches the data set's rows. The original's " +
  "program gives its inference no stop words, as a blank is missing in its command; here they are " +
  "those of the template. Results: <output_dir>/<name>_<mode>_b1ka1k/<length>/<task>.jsonl and " +
  "summary.csv; 'gather --format original -ht' prints what the original prints and draws its map.",
  CONTINUE_NOTE,
];

/**
 * `babilong`.
 *
 * @param entry The module that runs this program, for ranks on other nodes.
 */
export function babilongCommand(entry: URL): Command {
  return defineCommand({
    name: "babilong",
    summary: "run BABILong: prompts from its data set, generate, score, and show a table of scores",
    ranks: "first",
    flags: FLAGS,
    notes: NOTES,
    run: async (flags, context) => {
      const other = flags.seq_lengths.find((length) => !SPLITS.has(length));
      if (other !== undefined) {
        throw new UsageError(`--seq_lengths: must be one of ${LENGTHS}: current value is ${other}`);
      }
      const code = await runElsewhere(flags, { context, entry });
      if (code !== undefined) return code;
      const { runRuler } = await import("../ruler/ruler.ts");
      const { BABILONG } = await import("../suites/babilong.ts");
      return await runRuler({
        ...suiteOptions(flags),
        modelPath: await findModelFolder(flags.model_path),
      }, { ...context, openDataMaker: BABILONG.openMaker });
    },
  });
}
