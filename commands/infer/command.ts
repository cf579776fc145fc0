/**
 * The flags of `infer`, and what becomes of them.
 *
 * @module
 */
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS, MODE_HELP, MODES } from "../shared/engine_flags.ts";
import { choiceFlag, switchFlag, textFlag, wholeFlag, wordsFlag } from "../shared/flags.ts";
import {
  BLOCK_FLAGS,
  CONTINUE_NOTE,
  MODEL_FLAG,
  PROCESSES_FLAG,
  TEMPLATE_HELP,
} from "../shared/run_flags.ts";

/** `infer`. */
export const INFER = defineCommand({
  name: "infer",
  summary: "generate for the samples of a file of JSON lines",
  ranks: "first",
  flags: {
    model_path: MODEL_FLAG,
    attn_type: choiceFlag(MODES, { short: "-a", required: true, help: MODE_HELP }),
    ...BLOCK_FLAGS,
    tokens_to_generate: wholeFlag({
      required: true,
      min: 1,
      help: "tokens per sample, at most; the model's end-of-sequence ids and stop words end it",
    }),
    stop_words: wordsFlag({ default: [], help: "the text is cut at the first of them" }),
    input_path: textFlag({
      value: "FILE",
      required: true,
      help: "JSON lines with input_context and input_query, or input and answer_prefix (RULER's " +
        "form), and perhaps index, output or outputs",
    }),
    num_samples: wholeFlag({ min: -1, default: -1, help: "only the first N samples; -1 for all" }),
    output_path: textFlag({ value: "FILE", required: true, help: "where the records go" }),
    prompt_config: textFlag({
      short: "-pc",
      value: "TEMPLATE",
      help: `put around each prompt, which is else taken as it is: ${TEMPLATE_HELP}`,
    }),
    ignore_eos: switchFlag({
      help: "goes on behind the model's end-of-sequence ids, as the original does",
    }),
    overwrite: switchFlag({
      help: "removes an earlier output first, whatever it was made with",
    }),
    use_cache: switchFlag({
      help: "accepted as in the original; finished samples are always kept",
    }),
    nproc_per_node: PROCESSES_FLAG,
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
    "Consecutive lines with the same context encode it once; their records are the same as if each " +
    "line did.",
    `${CONTINUE_NOTE} run.json lies in the folder of --output_path and has an entry for each ` +
    "output file there.",
  ],
  run: async (flags, context) => {
    const { runInfer } = await import("./infer.ts");
    const { engineOptions, planOf } = await import("../shared/engine_flags.ts");
    await runInfer({
      ...engineOptions(flags),
      modelPath: await findModelFolder(flags.model_path),
      plan: planOf(flags),
      processCount: flags.nproc_per_node,
      inputPath: flags.input_path,
      outputPath: flags.output_path,
      sampleLimit: flags.num_samples,
      tokensToGenerate: flags.tokens_to_generate,
      stopWords: flags.stop_words,
      topLogits: flags.top_logits,
      template: flags.prompt_config,
      ignoreEos: flags.ignore_eos,
      overwrite: flags.overwrite,
    }, context);
  },
});
