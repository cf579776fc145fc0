/**
 * Flags and help texts that several subcommands share.
 *
 * @module
 */
import { GENERATORS } from "../../ruler/model.ts";
import { RULER_TASKS } from "../../ruler/tasks.ts";
import { MODEL_TEMPLATES } from "../../ruler/templates.ts";
import { choiceFlag, textFlag, wholeFlag, wholesFlag } from "./flags.ts";

/** No model has so many positions; longer data would take hours to make and to tokenize. */
export const MAX_LENGTH = 2 ** 24;

/** What `--prompt_config` takes. */
export const TEMPLATE_HELP =
  `the prompt template: ${Object.keys(MODEL_TEMPLATES).join(", ")}; chat for ` +
  "the model's own chat template, chat:NAME=VALUE,... with values that it asks for " +
  "(chat:enable_thinking=false); or a file, a text with {task_template} where the task belongs, " +
  'or NAME.json with {"template": "...", "stop_words": ["..."]}';
/** RULER's tasks. */
export const TASKS: readonly string[] = Object.keys(RULER_TASKS);
/** Tasks that need no downloaded data. */
export const DEMO_TASKS = [
  "niah_single_1",
  "niah_multikey_2",
  "niah_multikey_3",
  "vt",
  "fwe",
] as const;

/** What `--num_nodes` is. */
export const NODES_HELP =
  "nodes of a Slurm allocation; more than 1 start this program by srun there";
/** What `--nproc_per_node` is. */
export const PROCESSES_HELP =
  "processes of each node that share the context; dense and xattn use one; " +
  "under mpirun, srun or torchrun all ranks that were started are used";
/** `--nproc_per_node` of a command in which one process is enough for every mode. */
export const PROCESSES_FLAG = wholeFlag({
  short: "-np",
  min: 1,
  max: 1024,
  default: 1,
  help: PROCESSES_HELP,
});
const BLOCK_HELP = "tokens per context block; a multiple of 128 in starx";
const ANCHOR_HELP = "tokens of the anchor block, at most the block size; -1 takes the block size";

/** `--tasks_file`. */
export const TASKS_FILE_FLAG = textFlag({
  value: "FILE",
  help: "tasks of one's own beside RULER's, in YAML: NAME: {task: niah, args: {num_needle_k: 8}, " +
    "tokens_to_generate: 128}, as in the original's synthetic_task_config.yaml (docs/tasks.md); or " +
    "a TypeScript module with generators and metrics, which is run (docs/extend.md)",
});
/** What `--source_dir` is. */
export const SOURCE_HELP =
  "RULER's source data (default: STARX_DATA, or starx/data in the user's cache folder)";
/** `--cwe_freq`. */
export const CWE_FLAG = wholesFlag({
  count: 2,
  min: 1,
  value: "COMMON OTHER",
  help: "how often cwe's common and other words occur (default: 300 30, which leaves no answers " +
    "below about 15,500 tokens; 30 3 with --generators 2026)",
});
/** `--generators`. */
export const GENERATORS_FLAG = choiceFlag(GENERATORS, {
  default: "pinned",
  help: "whose generators make RULER's data: pinned for NVIDIA/Star-Attention's (c61059f), 2026 " +
    "for NVIDIA/RULER's main (c3f5e3b), which find a prompt's size by bisection and repeat texts " +
    "that end (docs/tasks.md)",
});

/** What can be named as a model. */
export const MODEL_HELP =
  "a model in Hugging Face's format, a GGUF file, or its name on the hub if it was fetched";

/** The model of a command that cannot do without one. */
export const MODEL_FLAG = textFlag({
  short: "-p",
  value: "FOLDER",
  required: true,
  help: MODEL_HELP,
});

/** The flags of Star Attention's blocks. */
export const BLOCK_FLAGS = {
  block_size: wholeFlag({
    short: "-bs",
    min: -1,
    kilo: true,
    default: -1,
    demo: 1024,
    help: BLOCK_HELP,
  }),
  anchor_block_size: wholeFlag({
    short: "-as",
    min: -1,
    kilo: true,
    default: -1,
    help: ANCHOR_HELP,
  }),
} as const;

/** What every command that writes results says of them. */
export const CONTINUE_NOTE =
  "Running the same command again continues: finished samples are kept. run.json beside the " +
  "results holds what they were made with; a run with another model, data or option that changes " +
  "results is refused. --threads and the time-outs change no result on the CPU, --nproc_per_node " +
  "with --merge lse only what is rounded: a token may differ where two are as good as equal. A GPU " +
  "rounds otherwise than a CPU, so --device counts as it was chosen.";
