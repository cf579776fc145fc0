/**
 * Reads `--tasks_file`.
 *
 * @module
 */
import { parseYaml } from "../../lib/deps/yaml.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/text_file.ts";
import type { Generators } from "../../ruler/model.ts";
import { parseTasks, tasksOf } from "../../ruler/task_file.ts";
import type { RulerTask } from "../../ruler/tasks.ts";

const MAX_BYTES = 2 ** 20;

/** Tasks of one's own, by their names. */
export type OwnTasks = ReadonlyMap<string, RulerTask>;

/**
 * Reads tasks of one's own.
 *
 * @param path A YAML or JSON file; none if it is undefined.
 * @throws {FileError} If it cannot be read, or an entry is no task.
 */
export async function readTasksFile(
  path: string | undefined,
  options: { generators?: Generators | undefined } = {},
): Promise<OwnTasks> {
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
  return parseTasks(value, path, options);
}

/**
 * A task by its name.
 *
 * @param flag The flag that named it, for the message.
 * @throws {UsageError} If there is none; the message names them all.
 */
export function taskNamed(
  task: string,
  options: {
    flag?: string;
    own?: OwnTasks | undefined;
    /** Whose settings RULER's tasks have. @default {"pinned"} */
    generators?: Generators | undefined;
  } = {},
): RulerTask {
  const { flag = "--task", own = new Map(), generators = "pinned" } = options;
  const tasks = tasksOf(generators);
  const found = own.get(task) ?? (Object.hasOwn(tasks, task) ? tasks[task] : undefined);
  if (found !== undefined) return found;
  const names = [...Object.keys(tasks), ...own.keys()].join(", ");
  throw new UsageError(`${flag}: must be one of ${names}: current value is '${task}'`);
}
