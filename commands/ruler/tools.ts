/**
 * The subcommands around `ruler`: `prepare`, `evaluate`, `gather`.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { GENERATORS } from "../../ruler/model.ts";
import { METRICS } from "../../ruler/metrics.ts";
import { FORMATS } from "../results/formats.ts";
import { defineCommand } from "../shared/command.ts";
import { choiceFlag, switchFlag, textFlag, textsFlag, wholeFlag } from "../shared/flags.ts";
import {
  CWE_FLAG,
  GENERATORS_FLAG,
  MAX_LENGTH,
  SOURCE_HELP,
  TASKS,
  TASKS_FILE_FLAG,
  TEMPLATE_HELP,
} from "../shared/run_flags.ts";

/** `prepare`. */
export const PREPARE = defineCommand({
  name: "prepare",
  summary: "make the data of one of RULER's tasks",
  flags: {
    save_dir: textFlag({ value: "FOLDER", required: true, help: "takes <task>/<subset>.jsonl" }),
    task: textFlag({
      value: "NAME",
      required: true,
      help: `one of RULER's tasks (${TASKS.join(", ")}), or of --tasks_file`,
    }),
    tasks_file: TASKS_FILE_FLAG,
    tokenizer_path: textFlag({
      value: "FOLDER",
      required: true,
      help: "a folder with a tokenizer.json",
    }),
    tokenizer_type: textFlag({
      value: "hf",
      default: "hf",
      help:
        "the kind of tokenizer; for those of NeMo and OpenAI take a tokenizer.json that Hugging " +
        "Face's library made of them",
    }),
    max_seq_length: wholeFlag({
      required: true,
      min: 1,
      max: MAX_LENGTH,
      help: "tokens of a sample, those to be generated included",
    }),
    num_samples: wholeFlag({ min: 1, default: 500, help: "samples of all chunks together" }),
    generators: GENERATORS_FLAG,
    random_seed: wholeFlag({
      help: "the seed of the first chunk with --generators 2026 (default: 42); else it has no " +
        "effect, as in the original",
    }),
    subset: choiceFlag(["validation", "test"], {
      default: "validation",
      help: "the name of the file that is written",
    }),
    model_template_type: textFlag({ value: "TEMPLATE", default: "base", help: TEMPLATE_HELP }),
    remove_newline_tab: switchFlag({ help: "line feeds and tabs become spaces" }),
    chunk_idx: wholeFlag({ default: 0, help: "which chunk to make, from 0 on" }),
    chunk_amount: wholeFlag({ min: 1, default: 1, help: "how many chunks there are" }),
    source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
    cwe_freq: CWE_FLAG,
  },
  run: async (flags, { screen }) => {
    checkTokenizerType(flags.tokenizer_type);
    const { runPrepare } = await import("./prepare.ts");
    await runPrepare({
      saveDir: flags.save_dir,
      task: flags.task,
      tokenizerPath: await findModelFolder(flags.tokenizer_path),
      maxTokens: flags.max_seq_length,
      sampleCount: flags.num_samples,
      generators: flags.generators,
      randomSeed: flags.random_seed,
      subset: flags.subset,
      template: flags.model_template_type,
      removeNewlineTab: flags.remove_newline_tab,
      chunkIndex: flags.chunk_idx,
      chunkCount: flags.chunk_amount,
      sourceDir: flags.source_dir,
      cweFrequencies: flags.cwe_freq,
      tasksFile: flags.tasks_file,
    }, (line) => screen.log(line));
  },
});

/** The kinds of tokenizer that the originals know, and what stands for those that are no files. */
const OTHER_TOKENIZERS: Readonly<Record<string, string>> = {
  nemo: "SentencePiece's model: transformers' convert_slow_tokenizer makes a tokenizer.json of it",
  nemo_tiktoken:
    "tiktoken's vocabulary: transformers' TikTokenConverter makes a tokenizer.json of it",
  openai: "tiktoken's vocabulary: the hub has it as a tokenizer.json, as in Xenova/gpt-4 " +
    "(cl100k_base) and Xenova/gpt-4o (o200k_base)",
  gemini: "a service that counts, of which there is no file",
};

/** @throws {UsageError} If it is not a `tokenizer.json`; the message says what to take. */
function checkTokenizerType(kind: string): void {
  if (kind === "hf") return;
  const way = Object.hasOwn(OTHER_TOKENIZERS, kind) ? ` (it is ${OTHER_TOKENIZERS[kind]})` : "";
  throw new UsageError(
    `--tokenizer_type: must be hf, a folder with a tokenizer.json: current value is '${kind}'${way}`,
  );
}

/** `evaluate`. */
export const EVALUATE = defineCommand({
  name: "evaluate",
  summary: "score the predictions of one length and write summary.csv",
  flags: {
    data_dir: textFlag({ value: "FOLDER", required: true, help: "holds <task>.jsonl files" }),
    metric: choiceFlag(Object.keys(METRICS) as (keyof typeof METRICS)[], {
      help: "scores every file of the folder by this metric, also those of one's own tasks; " +
        "without it RULER's tasks by their own",
    }),
    tasks_file: TASKS_FILE_FLAG,
    generators: choiceFlag(GENERATORS, {
      default: "pinned",
      help: "whose arguments --tasks_file has",
    }),
    benchmark: textFlag({ value: "NAME", default: "synthetic", help: "there is only 'synthetic'" }),
    verbose: wholeFlag({ min: -1, help: "accepted; has no effect, as in the original" }),
  },
  run: async ({ data_dir: dataDir, benchmark, verbose, metric: name, ...flags }, { screen }) => {
    const metric = name && METRICS[name];
    const { runEvaluate } = await import("./evaluate.ts");
    const terminalColumns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : undefined;
    const { tasks_file: tasksFile, generators } = flags;
    const own = { tasksFile, generators };
    await runEvaluate({ dataDir, benchmark, verbose, terminalColumns, metric, ...own }, screen);
  },
});

/** `gather`. */
export const GATHER = defineCommand({
  name: "gather",
  summary: "show the scores of all lengths of experiments, side by side",
  flags: {
    exp: textsFlag({
      short: "-e",
      value: "NAME...",
      required: true,
      help: "experiments' folders, or their names in --output_dir",
    }),
    output_dir: textFlag({ value: "FOLDER", default: "results", help: "folder of all results" }),
    format: choiceFlag([...FORMATS, "original"], {
      default: "table",
      help: "what to print; csv and json have a row per task, md can be pasted, original is the " +
        "text of the original's program",
    }),
    heatmap: switchFlag({
      short: "-ht",
      help: "draws BABILong's scores as <name>.svg in the experiment's folder (--format original)",
    }),
  },
  run: async ({ exp: exps, output_dir: outputDir, format, heatmap: heatMap }, { screen }) => {
    const { runGather } = await import("./gather.ts");
    await runGather({ exps, outputDir, format, heatMap }, (text) => screen.print(text));
  },
});
