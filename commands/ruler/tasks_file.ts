/**
 * Reads `--tasks_file`.
 *
 * @module
 */
import { parseYaml } from "../../lib/deps/yaml.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/text_file.ts";
import { parseTasks } from "../../ruler/task_file.ts";
import { RULER_TASKS, type RulerTask } from "../../ruler/tasks.ts";

const MAX_BYTES = 2 ** 20;

/** Tasks of one's own, by their names. */
export type OwnTasks = ReadonlyMap<string, RulerTask>;

/**
 * Reads tasks of one's own.
 *
 * @param path A YAML or JSON file; none if it is undefined.
 * @throws {FileError} If it cannot be read, or an entry is no task.
 */
export async function readTasksFile(path: string | undefined): Promise<OwnTasks> {
  if (path === undefined) return new Map();
  const text = await readTextFile(path, { maxBytes: MAX_BYTES });
  let value: unknown;
  try {
    value = await parseYaml(text);
  } catch (error) {
    throw new FileError(`Cannot use ${path}: it is not YAML (${errorText(error)})`, {
      cause: error,
    });
  }
  return parseTasks(value, path);
}

/**
 * A task by its name.
 *
 * @param flag The flag that named it, for the message.
 * @throws {UsageError} If there is none; the message names them all.
 */
export function taskNamed(
  task: string,
  options: { flag?: string; own?: OwnTasks | undefined } = {},
): RulerTask {
  const { flag = "--task", own = new Map() } = options;
  const found = own.get(task) ?? (Object.hasOwn(RULER_TASKS, task) ? RULER_TASKS[task] : undefined);
  if (found !== undefined) return found;
  const names = [...Object.keys(RULER_TASKS), ...own.keys()].join(", ");
  throw new UsageError(`${flag}: must be one of ${names}: current value is '${task}'`);
}
