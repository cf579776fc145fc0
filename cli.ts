/**
 * The command line: its subcommands, their flags, and the defaults of all of them.
 *
 * Flags are spelled as in the programs of NVIDIA/Star-Attention that the subcommands stand for.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { BENCH_HELP, benchOptions } from "./commands/bench/flags.ts";
import { type Command, defineCommand } from "./commands/shared/command.ts";
import { ENGINE_FLAGS, MODE_HELP, MODES } from "./commands/shared/engine_flags.ts";
import {
  choiceFlag,
  choicesFlag,
  switchFlag,
  textFlag,
  wholeFlag,
  wholesFlag,
  wordsFlag,
} from "./commands/shared/flags.ts";
import { runProgram } from "./commands/shared/program.ts";
import { openScreen } from "./commands/shared/screen.ts";
import { UsageError } from "./lib/errors.ts";
import { MODEL_TEMPLATES } from "./ruler/templates.ts";
import { launchEnvironment } from "./lib/team/launch.ts";

const TEMPLATE_HELP = `the prompt template: ${Object.keys(MODEL_TEMPLATES).join(", ")}; chat for ` +
  "the model's own chat template; or a file, a text with {task_template} where the task belongs, " +
  'or NAME.json with {"template": "...", "stop_words": ["..."]}';
const TASKS = [
  ...["niah_single_1", "niah_single_2", "niah_single_3"],
  ...["niah_multikey_1", "niah_multikey_2", "niah_multikey_3"],
  ...["niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "qa_1", "qa_2"],
];
/** Tasks that need no downloaded data. */
const DEMO_TASKS = ["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "fwe"] as const;

const NODES_HELP = "nodes of a Slurm allocation; more than 1 start this program by srun there";
const PROCESSES_HELP = "processes of each node that share the context; dense and xattn use one; " +
  "under mpirun, srun or torchrun all ranks that were started are used";
const BLOCK_HELP = "tokens per context block; a multiple of 128 in starx";
const ANCHOR_HELP = "tokens of the anchor block, at most the block size; -1 takes the block size";

const SOURCE_HELP =
  "RULER's source data (default: STARX_DATA, or starx/data in the user's cache folder)";
const CWE_FLAG = wholesFlag({
  count: 2,
  min: 1,
  default: [300, 30],
  value: "COMMON OTHER",
  help: "how often cwe's common and other words occur; 300 30 leaves no answers below about " +
    "15,500 tokens, 30 3 are newer RULER's values",
});

const BLOCK_FLAGS = {
  block_size: wholeFlag({ short: "-bs", min: -1, default: -1, demo: 1024, help: BLOCK_HELP }),
  anchor_block_size: wholeFlag({ short: "-as", min: -1, default: -1, help: ANCHOR_HELP }),
} as const;

const CONTINUE_NOTE =
  "Running the same command again continues: finished samples are kept. run.json beside the " +
  "results holds what they were made with; a run with another model, data or option that changes " +
  "results is refused. --threads, --timeout and, with --merge lse, --nproc_per_node change no " +
  "result on the CPU; a GPU rounds otherwise than a CPU, so --device counts as it was chosen.";

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
      help: "a Llama model in Hugging Face's format; without it the model of this repository is " +
        "taken, and demonstration values stand for every flag that is absent",
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
      required: true,
      demo: [4096],
      help: "sequence lengths in tokens",
    }),
    tasks: choicesFlag(TASKS, {
      short: "-t",
      default: TASKS,
      demo: DEMO_TASKS,
      help: "RULER's tasks",
    }),
    pregen_data_dir: textFlag({
      short: "-d",
      value: "FOLDER",
      help: "data made before, as FOLDER/<length>/<task>/validation.jsonl; a name without a " +
        "slash may also stand for dataset/NAME; tasks that it lacks are made",
    }),
    num_samples_per_task: wholeFlag({ min: 1, default: 500, demo: 5, help: "samples per task" }),
    num_nodes: wholeFlag({ short: "-nn", min: 1, default: 1, help: NODES_HELP }),
    nproc_per_node: wholeFlag({
      short: "-np",
      min: 1,
      max: 1024,
      demo: 2,
      help: `${PROCESSES_HELP}; required in star, starx, ring and ringx`,
    }),
    output_dir: textFlag({ value: "FOLDER", default: "results", help: "folder of all results" }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
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
    const { runRuler } = await import("./commands/ruler/ruler.ts");
    const { engineOptions, planOf } = await import("./commands/shared/engine_flags.ts");
    if (flags.num_nodes > 1 && context.launchedRanks === undefined) {
      const { runOnNodes } = await import("./commands/shared/nodes.ts");
      const { num_nodes: nodes, nproc_per_node: tasksPerNode = 1 } = flags;
      const entry = new URL(import.meta.url);
      const env = launchEnvironment();
      const { args = [], cleanup } = context;
      return await runOnNodes({ nodes, tasksPerNode, env, entry, args, cleanup });
    }
    return await runRuler({
      ...engineOptions(flags),
      modelName: flags.model_name,
      modelPath: flags.model_path ?? await demoModel(),
      template: flags.prompt_config,
      plan: planOf(flags),
      givenAnchorTokens: flags.anchor_block_size,
      lengths: flags.seq_lengths,
      tasks: flags.tasks,
      pregenDir: flags.pregen_data_dir,
      sampleCount: flags.num_samples_per_task,
      processCount: flags.nproc_per_node,
      outputDir: flags.output_dir,
      sourceDir: flags.source_dir,
      cweFrequencies: flags.cwe_freq,
    }, context);
  },
});

const infer = defineCommand({
  name: "infer",
  summary: "generate for the samples of a file of JSON lines",
  ranks: "first",
  flags: {
    model_path: textFlag({
      short: "-p",
      value: "FOLDER",
      required: true,
      help: "a Llama model in Hugging Face's format",
    }),
    attn_type: choiceFlag(MODES, { short: "-a", required: true, help: MODE_HELP }),
    ...BLOCK_FLAGS,
    tokens_to_generate: wholeFlag({
      required: true,
      min: 1,
      help: "tokens per sample; an end-of-sequence token does not end it, a stop word may",
    }),
    stop_words: wordsFlag({ default: [], help: "the text is cut at the first of them" }),
    input_path: textFlag({
      value: "FILE",
      required: true,
      help: "JSON lines with input_context, input_query, output or outputs, and perhaps index",
    }),
    num_samples: wholeFlag({ min: -1, default: -1, help: "only the first N samples; -1 for all" }),
    output_path: textFlag({ value: "FILE", required: true, help: "where the records go" }),
    use_cache: switchFlag({
      help: "accepted as in the original; finished samples are always kept",
    }),
    nproc_per_node: wholeFlag({
      short: "-np",
      min: 1,
      max: 1024,
      default: 1,
      help: PROCESSES_HELP,
    }),
    top_logits: wholeFlag({
      default: 0,
      max: 1 << 20,
      value: "K",
      help: "adds to each record top_logits, the K largest logits of the first generated " +
        "position as [id, logit] pairs, and generated_ids",
    }),
    ...ENGINE_FLAGS,
  },
  notes: [
    `${CONTINUE_NOTE} run.json lies in the folder of --output_path and has an entry for each ` +
    "output file there.",
  ],
  run: async (flags, context) => {
    const { runInfer } = await import("./commands/infer/infer.ts");
    const { engineOptions, planOf } = await import("./commands/shared/engine_flags.ts");
    await runInfer({
      ...engineOptions(flags),
      modelPath: flags.model_path,
      plan: planOf(flags),
      processCount: flags.nproc_per_node,
      inputPath: flags.input_path,
      outputPath: flags.output_path,
      sampleLimit: flags.num_samples,
      tokensToGenerate: flags.tokens_to_generate,
      stopWords: flags.stop_words,
      topLogits: flags.top_logits,
    }, context);
  },
});

const prepare = defineCommand({
  name: "prepare",
  summary: "make the data of one of RULER's tasks",
  flags: {
    save_dir: textFlag({ value: "FOLDER", required: true, help: "takes <task>/validation.jsonl" }),
    task: choiceFlag(TASKS, { value: "NAME", required: true, help: "one of RULER's tasks" }),
    tokenizer_path: textFlag({
      value: "FOLDER",
      required: true,
      help: "a folder with a tokenizer.json",
    }),
    tokenizer_type: choiceFlag(["hf"], { default: "hf", help: "the kind of tokenizer" }),
    max_seq_length: wholeFlag({
      required: true,
      min: 1,
      help: "tokens of a sample, those to be generated included",
    }),
    num_samples: wholeFlag({ min: 1, default: 500, help: "samples of all chunks together" }),
    random_seed: wholeFlag({ help: "accepted; has no effect, as in the original" }),
    model_template_type: textFlag({ value: "TEMPLATE", default: "base", help: TEMPLATE_HELP }),
    remove_newline_tab: switchFlag({ help: "line feeds and tabs become spaces" }),
    chunk_idx: wholeFlag({ default: 0, help: "which chunk to make, from 0 on" }),
    chunk_amount: wholeFlag({ min: 1, default: 1, help: "how many chunks there are" }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
    cwe_freq: CWE_FLAG,
  },
  run: async (flags, { screen }) => {
    const { runPrepare } = await import("./commands/ruler/prepare.ts");
    await runPrepare({
      saveDir: flags.save_dir,
      task: flags.task,
      tokenizerPath: flags.tokenizer_path,
      maxTokens: flags.max_seq_length,
      sampleCount: flags.num_samples,
      randomSeed: flags.random_seed,
      template: flags.model_template_type,
      removeNewlineTab: flags.remove_newline_tab,
      chunkIndex: flags.chunk_idx,
      chunkCount: flags.chunk_amount,
      sourceDir: flags.source_dir,
      cweFrequencies: flags.cwe_freq,
    }, (line) => screen.log(line));
  },
});

const evaluate = defineCommand({
  name: "evaluate",
  summary: "score the predictions of one length and write summary.csv",
  flags: {
    data_dir: textFlag({ value: "FOLDER", required: true, help: "holds <task>.jsonl files" }),
    benchmark: textFlag({ value: "NAME", default: "synthetic", help: "there is only 'synthetic'" }),
    verbose: wholeFlag({ min: -1, help: "accepted; has no effect, as in the original" }),
  },
  run: async ({ data_dir: dataDir, benchmark, verbose }, { screen }) => {
    const { runEvaluate } = await import("./commands/ruler/evaluate.ts");
    const terminalColumns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : undefined;
    await runEvaluate({ dataDir, benchmark, verbose, terminalColumns }, screen);
  },
});

const gather = defineCommand({
  name: "gather",
  summary: "show the scores of all lengths of an experiment",
  flags: {
    exp: textFlag({
      short: "-e",
      value: "NAME",
      required: true,
      help: "an experiment's folder, or its name in --output_dir",
    }),
    output_dir: textFlag({ value: "FOLDER", default: "results", help: "folder of all results" }),
  },
  run: async ({ exp, output_dir: outputDir }, { screen }) => {
    const { runGather } = await import("./commands/ruler/gather.ts");
    await runGather({ exp, outputDir }, (text) => screen.print(text));
  },
});

const bench = defineCommand({
  ...BENCH_HELP,
  ranks: "first",
  run: async (flags, { screen, group }) => {
    const options = benchOptions(flags);
    const note = (line: string) => screen.log(line);
    const output = { print: (text: string) => screen.print(text), note };
    if (!options.kernels) {
      const { runBench } = await import("./commands/bench/bench.ts");
      await runBench(options, output, { group });
    } else {
      const { runKernelBench } = await import("./commands/bench/kernels.ts");
      await runKernelBench(options, output);
    }
  },
});

const doctor = defineCommand({
  name: "doctor",
  summary: "show what was found on this machine, and what is missing",
  flags: {
    model_path: textFlag({
      short: "-p",
      value: "FOLDER",
      help: "the model to look at (default: the model of this repository)",
    }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
  },
  run: async (flags, { screen }) => {
    const { runDoctor } = await import("./commands/doctor.ts");
    const modelPath = flags.model_path ?? await demoModel();
    await runDoctor({ modelPath, sourceDir: flags.source_dir }, screen);
  },
});

/** All subcommands, in the order of the help text. */
const COMMANDS: readonly Command[] = [ruler, infer, prepare, evaluate, gather, bench, doctor];

/** The folder of the model that comes with this program. */
async function demoModel(): Promise<string> {
  const url = new URL("./models/starx-tiny", import.meta.url);
  if (url.protocol === "file:") return fileURLToPath(url);
  // Weights are mapped into memory, which takes a file.
  const local = "models/starx-tiny";
  if (await Deno.stat(local).then(({ isDirectory }) => isDirectory, () => false)) return local;
  throw new UsageError(
    `--model_path: is required when this program runs from ${url.protocol}// as a model has to ` +
      "lie on this machine",
  );
}

if (import.meta.main) {
  Deno.exit(await runProgram(COMMANDS, Deno.args, { screen: openScreen() }));
}
