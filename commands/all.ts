/**
 * All subcommands, their flags, and the defaults of all of them.
 *
 * Flags are spelled as in the programs of NVIDIA/Star-Attention that the subcommands stand for.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { BENCH_HELP, benchOptions } from "./bench/flags.ts";
import { CALIBRATE } from "./calibrate/command.ts";
import { doctorCommand } from "./doctor/command.ts";
import { type Command, defineCommand } from "./shared/command.ts";
import { INFER } from "./infer/command.ts";
import { FORMATS } from "./results/formats.ts";
import { REPORT } from "./report/command.ts";
import { PERPLEXITY } from "./perplexity/command.ts";
import { runElsewhere, suiteOptions } from "./ruler/suite_run.ts";
import { EVALUATE, GATHER, PREPARE } from "./ruler/tools.ts";
import { ENGINE_FLAGS, MODE_HELP, MODES } from "./shared/engine_flags.ts";
import {
  choiceFlag,
  switchFlag,
  textFlag,
  textsFlag,
  wholeFlag,
  wholesFlag,
} from "./shared/flags.ts";
import {
  BLOCK_FLAGS,
  CONTINUE_NOTE,
  CWE_FLAG,
  DEMO_TASKS,
  GENERATORS_FLAG,
  MAX_LENGTH,
  MODEL_HELP,
  NODES_HELP,
  PROCESSES_HELP,
  SOURCE_HELP,
  TASKS,
  TASKS_FILE_FLAG,
  TEMPLATE_HELP,
} from "./shared/run_flags.ts";
import { UsageError } from "../lib/errors.ts";
import { isFolder } from "../lib/files.ts";
import { SWEEP } from "./sweep/command.ts";
import { SERVE } from "./serve/command.ts";
import { findModelFolder } from "../lib/model/model_folder.ts";
import { babilongCommand } from "./babilong/command.ts";

/** The program, which starts itself again on other nodes. */
const CLI = new URL("../cli.ts", import.meta.url);

const ruler = defineCommand({
  name: "ruler",
  summary: "run RULER: make the data, generate, score, and show a table of scores",
  demoUnless: "model_path",
  ranks: "first",
  flags: {
    model_name: textFlag({
      short: "-n",
      value: "NAME",
      required: true,
      demo: "starx-tiny",
      help: "the experiment's name, the first part of its folder's",
    }),
    model_path: textFlag({
      short: "-p",
      value: "FOLDER",
      help: `${MODEL_HELP}; the bare command takes the model of this ` +
        "repository, and demonstration values for all flags; with any flag that is not about the " +
        "machine it is required",
    }),
    prompt_config: textFlag({
      short: "-pc",
      value: "TEMPLATE",
      required: true,
      demo: "llama3",
      help: TEMPLATE_HELP,
    }),
    attn_type: choiceFlag(MODES, { short: "-a", default: "star", demo: "starx", help: MODE_HELP }),
    ...BLOCK_FLAGS,
    seq_lengths: wholesFlag({
      short: "-l",
      min: 1,
      max: MAX_LENGTH,
      kilo: true,
      required: true,
      demo: [4096],
      help: "sequence lengths in tokens: 4096 32768, or 4k,32k",
    }),
    tasks: textsFlag({
      short: "-t",
      value: "NAME...",
      default: TASKS,
      demo: DEMO_TASKS,
      help: "RULER's tasks, or those of --tasks_file",
    }),
    tasks_file: TASKS_FILE_FLAG,
    generators: GENERATORS_FLAG,
    pregen_data_dir: textFlag({
      short: "-d",
      value: "FOLDER",
      help: "data made before, as FOLDER/<length>/<task>/validation.jsonl; a name without a " +
        "slash may also stand for dataset/NAME; tasks that it lacks are made",
    }),
    num_samples_per_task: wholeFlag({ min: 1, default: 500, demo: 5, help: "samples per task" }),
    num_nodes: wholeFlag({
      short: "-nn",
      min: 1,
      default: 1,
      machine: true,
      help: NODES_HELP,
    }),
    nproc_per_node: wholeFlag({
      short: "-np",
      min: 1,
      max: 1024,
      demo: 2,
      machine: true,
      help: `${PROCESSES_HELP}; required in star, starx, ring and ringx`,
    }),
    output_dir: textFlag({
      value: "FOLDER",
      default: "results",
      machine: true,
      help: "folder of all results",
    }),
    stop_at_eos: switchFlag({
      help: "ends an answer at the model's end-of-sequence ids; the original goes on to the last " +
        "token",
    }),
    adopt: switchFlag({
      machine: true,
      help: "goes on with results that NVIDIA/Star-Attention's run_ruler.py left in the " +
        "experiment's folder, after checking that commands and data agree",
    }),
    overwrite: switchFlag({
      machine: true,
      help: "removes earlier results of these lengths, whatever they were made with",
    }),
    format: choiceFlag(FORMATS, {
      default: "table",
      machine: true,
      help: "what is printed at the end; csv and json have a row per task, md can be pasted",
    }),
    log_samples: switchFlag({
      machine: true,
      help: "writes samples_<task>_<date>.jsonl, too, in lm-evaluation-harness's form",
    }),
    no_report: switchFlag({ machine: true, help: "writes no report.html at the end" }),
    source_dir: textFlag({ value: "FOLDER", machine: true, help: SOURCE_HELP }),
    cwe_freq: CWE_FLAG,
    ...ENGINE_FLAGS,
  },
  notes: [
    "Results: <output_dir>/<name>_<mode>_b1ka1k/<length>/<task>.jsonl and summary.csv, data in " +
    "data/<task>/validation.jsonl, logs in logs/. Tasks whose source data is not on this machine " +
    "are skipped with the line that says how to get it.",
    CONTINUE_NOTE,
  ],
  run: async (flags, context) => {
    const code = await runElsewhere(flags, { context, entry: CLI });
    if (code !== undefined) return code;
    const { runRuler } = await import("./ruler/ruler.ts");
    return await runRuler({
      ...suiteOptions(flags),
      modelPath: await modelOr(demoModel, flags.model_path),
      cweFrequencies: flags.cwe_freq,
      generators: flags.generators,
      tasksFile: flags.tasks_file,
      adopt: flags.adopt,
      withReport: !flags.no_report,
    }, context);
  },
});

const bench = defineCommand({
  ...BENCH_HELP,
  ranks: "first",
  run: async (flags, context) => {
    const { screen } = context;
    const options = await benchOptions(flags);
    const note = (line: string) => screen.log(line);
    const output = { print: (text: string) => screen.print(text), note };
    if (options.input !== undefined) {
      const { runPromptBench } = await import("./bench/prompts.ts");
      await runPromptBench({ ...options, input: options.input }, output, context);
    } else if (!options.kernels) {
      const { runBench } = await import("./bench/bench.ts");
      await runBench(options, output, context);
    } else {
      const { runKernelBench } = await import("./bench/kernels.ts");
      await runKernelBench(options, output);
    }
  },
});

/** All subcommands, in the order of the help text. */
export const COMMANDS: readonly Command[] = [
  ruler,
  babilongCommand(CLI),
  INFER,
  PERPLEXITY,
  SERVE,
  CALIBRATE,
  SWEEP,
  PREPARE,
  EVALUATE,
  GATHER,
  REPORT,
  bench,
  doctorCommand(() => demoModel().catch(() => undefined)),
];

/** The folder of a model that was named, or another one's. */
async function modelOr(other: () => Promise<string>, named: string | undefined): Promise<string> {
  return named === undefined ? await other() : await findModelFolder(named);
}

/** The folder of the model that comes with this program. */
async function demoModel(): Promise<string> {
  const url = new URL("../models/starx-tiny", import.meta.url);
  if (url.protocol === "file:") return fileURLToPath(url);
  // Weights are mapped into memory, which takes a file.
  const local = "models/starx-tiny";
  if (await isFolder(local)) return local;
  throw new UsageError(
    `--model_path is required when this program runs from ${url.protocol}// as a model has to ` +
      "lie on this machine",
  );
}
