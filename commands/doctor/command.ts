/**
 * The flags of `doctor`, and what becomes of them.
 *
 * @module
 */
import { WEIGHT_FLAGS, weightOptionsOf } from "../shared/weights.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { type Command, defineCommand } from "../shared/command.ts";
import { MODES } from "../shared/engine_flags.ts";
import { choiceFlag, choicesFlag, textFlag, wholeFlag, wholesFlag } from "../shared/flags.ts";
import { MAX_LENGTH, SOURCE_HELP, TEMPLATE_HELP } from "../shared/run_flags.ts";
import { COMPUTE_DTYPES } from "../../lib/model/precision.ts";
import type { AttentionMode } from "../../lib/attention/plan.ts";

/**
 * `doctor`.
 *
 * @param findDemo The folder of the model that comes with this program; undefined where it is none.
 */
export function doctorCommand(findDemo: () => Promise<string | undefined>): Command {
  return defineCommand({
    name: "doctor",
    summary: "show what was found on this machine, what is missing, and whether a model fits",
    flags: {
      model_path: textFlag({
        short: "-p",
        value: "FOLDER",
        help:
          "the model to look at, in Hugging Face's format, a GGUF file, or its name on the hub; " +
          "without it only the machine is looked at",
      }),
      seq_lengths: wholesFlag({
        short: "-l",
        min: 1,
        max: MAX_LENGTH,
        kilo: true,
        default: [],
        help: "tokens of prompt and answer that are to fit (default: what fits is said)",
      }),
      attn_type: choicesFlag(MODES, { short: "-a", default: MODES, help: "attention modes" }),
      block_size: wholeFlag({
        short: "-bs",
        min: 128,
        kilo: true,
        help: "tokens per context block (default: 4096, or a quarter of the model's positions)",
      }),
      prompt_config: textFlag({ short: "-pc", value: "TEMPLATE", help: TEMPLATE_HELP }),
      dtype: choiceFlag(COMPUTE_DTYPES, { default: "bf16", help: "what is computed in" }),
      ...WEIGHT_FLAGS,
      nproc_per_node: wholeFlag({
        short: "-np",
        min: 1,
        max: 1024,
        default: 1,
        help: "processes of this machine that share the context",
      }),
      source_dir: textFlag({ value: "FOLDER", help: SOURCE_HELP }),
    },
    notes: [
      "Ends with 3 if the model cannot be used, and with 4 if nothing can be computed here, or a " +
      "length fits in none of the modes.",
    ],
    run: async (flags, { screen }) => {
      const { runDoctor } = await import("./doctor.ts");
      const { model_path: named, source_dir: sourceDir } = flags;
      if (named === undefined) {
        return await runDoctor({ modelPath: await findDemo(), sourceDir }, screen);
      }
      const run = {
        lengths: flags.seq_lengths,
        modes: flags.attn_type as readonly AttentionMode[],
        blockTokens: flags.block_size,
        template: flags.prompt_config,
        dtype: flags.dtype,
        ...weightOptionsOf(flags),
        processCount: flags.nproc_per_node,
      };
      await runDoctor({ modelPath: await findModelFolder(named), run, sourceDir }, screen);
    },
  });
}
