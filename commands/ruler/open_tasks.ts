/**
 * What a run of RULER's tasks opens before it begins: the tasks with what makes their data, and the
 * prompt template.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { isFolder } from "../../lib/files.ts";
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";
import type { Screen } from "../shared/screen.ts";
import { RULER } from "../suites/ruler.ts";
import type { DataMaker, OpenDataMaker } from "./data.ts";
import type { RulerOptions } from "./options.ts";
import { type OwnTasks, readTasksFile, taskNamed } from "./tasks_file.ts";
import { chooseTemplate, type ChosenTemplate, templateWarning } from "./template.ts";

/** The flag of the prompt template. */
export const TEMPLATE_FLAG = "--prompt_config";

/** Tasks of one's own, and what makes the data of all. @throws {UsageError} If a task is none. */
export async function openTasks(
  options: Pick<RulerOptions, "generators" | "sourceDir" | "tasks" | "tasksFile">,
  context: {
    tokenizer: TextTokenizer;
    template: ChosenTemplate;
    openDataMaker?: OpenDataMaker;
  },
): Promise<{ own: OwnTasks; maker: DataMaker }> {
  const { generators, sourceDir, tasks } = options;
  const { tokenizer, template, openDataMaker } = context;
  const own = await readTasksFile(options.tasksFile, { generators });
  if (openDataMaker === undefined) {
    for (const task of tasks) taskNamed(task, { flag: "--tasks", own, generators });
  }
  const openMaker: OpenDataMaker = openDataMaker ?? RULER.openMaker;
  const countTokens = (text: string) => tokenizer.count(text);
  return { own, maker: await openMaker({ countTokens, sourceDir, template, own, generators }) };
}

/** The prompt template; what is odd about it is said. */
export async function openTemplate(
  options: Pick<RulerOptions, "template" | "modelPath">,
  context: { tokenizer: TextTokenizer; screen: Screen },
): Promise<ChosenTemplate> {
  const { tokenizer, screen } = context;
  const { template: name, modelPath: folder } = options;
  const template = await chooseTemplate(name, { folder, tokenizer, flag: TEMPLATE_FLAG });
  const warning = await templateWarning(template, { folder, tokenizer });
  if (warning !== undefined) screen.log(warning);
  return template;
}

/** @throws {UsageError} If a folder of source data is named that is none. */
export async function checkSourceDir(sourceDir: string | undefined): Promise<void> {
  if (sourceDir === undefined) return;
  if (await isFolder(sourceDir)) return;
  throw new UsageError(`--source_dir: must be a folder: current value is '${sourceDir}'`);
}

/** @throws {UsageError} If a length exceeds the model's positions. */
export function checkLengths(
  lengths: readonly number[],
  { maxPositions }: { maxPositions: number },
): void {
  const tooLong = lengths.filter((length) => length > maxPositions);
  if (tooLong.length === 0) return;
  throw new UsageError(
    `--seq_lengths: must be at most the model's ${maxPositions} positions ` +
      `(max_position_embeddings): current value is ${tooLong.join(" ")}`,
  );
}
