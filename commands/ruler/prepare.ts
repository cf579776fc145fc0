/**
 * The `prepare` command: the data of one task, as `ruler/data/prepare.py` of NVIDIA/Star-Attention
 * writes it.
 *
 * @module
 */
import { FileError, UsageError } from "../../lib/errors.ts";
import type { Generators } from "../../ruler/model.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { makeFolder } from "../shared/folder.ts";
import { makeData } from "./make_data.ts";
import { readTasksFile, taskNamed } from "./tasks_file.ts";
import { checkTemplateName, chooseTemplate } from "./template.ts";

const TEMPLATE_FLAG = "--model_template_type";

/** What to make. */
export interface PrepareCommandOptions {
  readonly saveDir: string;
  readonly task: string;
  /** A folder with a `tokenizer.json`. */
  readonly tokenizerPath: string;
  readonly maxTokens: number;
  readonly sampleCount: number;
  /** Given by the user; the pinned generators have a seed of their own. */
  readonly randomSeed: number | undefined;
  /** Whose generators make the data. @default {"pinned"} */
  readonly generators?: Generators | undefined;
  /** The file's name without its ending. @default {"validation"} */
  readonly subset?: string | undefined;
  readonly template: string;
  readonly removeNewlineTab: boolean;
  readonly chunkIndex: number;
  readonly chunkCount: number;
  readonly sourceDir: string | undefined;
  readonly cweFrequencies?: readonly number[] | undefined;
  /** Holds tasks beside RULER's. */
  readonly tasksFile?: string | undefined;
}

/**
 * Writes `<saveDir>/<task>/<subset>.jsonl`.
 *
 * @param log Gets a line about anything that the user should know.
 * @throws {UsageError} If an option cannot be used; nothing is written then.
 * @throws {FileError} If a source is missing or the file cannot be written.
 */
export async function runPrepare(
  options: PrepareCommandOptions,
  log: (line: string) => void,
): Promise<void> {
  const { task, saveDir, chunkIndex, chunkCount, randomSeed, generators } = options;
  const { subset = "validation" } = options;
  const own = await readTasksFile(options.tasksFile, { generators });
  taskNamed(task, { own, generators });
  checkTemplateName(options.template, TEMPLATE_FLAG);
  if (chunkIndex >= chunkCount) {
    throw new UsageError(
      `--chunk_idx: must be 0 to ${chunkCount - 1}, below --chunk_amount: ` +
        `current value is ${chunkIndex}`,
    );
  }
  if (randomSeed !== undefined && generators !== "2026") {
    log(
      "warning: --random_seed has no effect, as in the original: the seed is 42 + --chunk_idx " +
        "(with --generators 2026 it has)",
    );
  }
  using tokenizer = await openTokenizerThread(options.tokenizerPath);
  const path = `${saveDir}/${task}/${subset}.jsonl`;
  await makeFolder(`${saveDir}/${task}`);
  const template = await chooseTemplate(options.template, {
    folder: options.tokenizerPath,
    tokenizer,
    flag: TEMPLATE_FLAG,
  });
  const made = await makeData({
    ...options,
    own,
    template,
    path,
    countTokens: (text) => tokenizer.count(text),
  });
  if (!made.isMade) throw new FileError(`Cannot make samples of ${task}: ${made.reason}`);
  if (made.words === "builtin") {
    log(
      "warning: keys are made of built-in words, as RULER's word lists are not on this machine: " +
        "scores do not compare with published ones ('deno task data' fetches the lists)",
    );
  }
  if (made.note !== undefined) log(`warning: ${made.note}`);
  log(`Prepared ${path}`);
}
