/**
 * The flags of `perplexity`, and what becomes of them.
 *
 * @module
 */
import type { AttentionMode } from "../../lib/attention/plan.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { FORMATS } from "../results/formats.ts";
import { defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS, MODE_HELP, MODES } from "../shared/engine_flags.ts";
import { choiceFlag, choicesFlag, textFlag, wholeFlag, wholesFlag } from "../shared/flags.ts";
import { BLOCK_FLAGS, MAX_LENGTH, MODEL_FLAG, PROCESSES_FLAG } from "../shared/run_flags.ts";

// Texts are scored one by one.
const { batch_size: _batch, replicas: _replicas, ...engineFlags } = ENGINE_FLAGS;

/** `perplexity`. */
export const PERPLEXITY = defineCommand({
  name: "perplexity",
  summary: "score a text against the length of what the model sees of it",
  ranks: "first",
  flags: {
    model_path: MODEL_FLAG,
    input_path: textFlag({ value: "FILE", required: true, help: "a text in UTF-8" }),
    seq_lengths: wholesFlag({
      short: "-l",
      min: 2,
      max: MAX_LENGTH,
      kilo: true,
      required: true,
      help: "tokens that the model sees: 4096 32768, or 4k,32k",
    }),
    attn_type: choicesFlag(MODES, { short: "-a", default: ["dense"], help: MODE_HELP }),
    ...BLOCK_FLAGS,
    span_tokens: wholeFlag({
      min: 1,
      default: 256,
      help: "tokens that are scored at the end of each context; they are the same at every length",
    }),
    num_spans: wholeFlag({
      min: 1,
      default: 16,
      help:
        "places of the text at which tokens are scored, at equal distances; as many as it has " +
        "room for",
    }),
    prefix: textFlag({
      help: "stands in front of every context and counts as part of it, for example " +
        "'<|begin_of_text|>'; none by default",
    }),
    nproc_per_node: PROCESSES_FLAG,
    format: choiceFlag(FORMATS, { default: "table", help: "what is printed at the end" }),
    output_path: textFlag({ value: "FILE", help: "gets the results as CSV, too" }),
    ...engineFlags,
  },
  notes: [
    "At each length the same tokens are scored, each behind all that stands before it, so that " +
    "lengths and modes differ in nothing else: in the modes with blocks the context is encoded in " +
    "blocks, and the scored tokens see all of it, as a query does. ± is the standard error, by " +
    "the bootstrap over the places.",
  ],
  run: async (flags, context) => {
    const { runPerplexity } = await import("./perplexity.ts");
    const { engineOptions, planOf } = await import("../shared/engine_flags.ts");
    const [mode = "dense"] = flags.attn_type as readonly AttentionMode[];
    const { mode: _mode, ...plan } = planOf({ ...flags, attn_type: mode });
    const { batchSize: _size, replicas: _copies, ...engine } = engineOptions({
      ...{ ...flags, batch_size: "1", replicas: 1 },
    });
    await runPerplexity({
      ...engine,
      modelPath: await findModelFolder(flags.model_path),
      inputPath: flags.input_path,
      modes: flags.attn_type as readonly AttentionMode[],
      plan,
      lengths: flags.seq_lengths,
      spanTokens: flags.span_tokens,
      spanCount: flags.num_spans,
      prefix: flags.prefix ?? "",
      processCount: flags.nproc_per_node,
      format: flags.format,
      outputPath: flags.output_path,
    }, context);
  },
});
