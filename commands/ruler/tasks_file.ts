/**
 * Reads `--tasks_file`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { BABILONG_TASKS } from "../../babilong/tasks.ts";
import { parseYaml } from "../../lib/deps/yaml.ts";
import { errorText, FileError, invariant, UsageError } from "../../lib/errors.ts";
import { readTextFile } from "../../lib/text_file.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";
import { checkTasks, type ModuleTask } from "../../ruler/own_task.ts";
import type { Generators } from "../../ruler/model.ts";
import { parseTasks, tasksOf } from "../../ruler/task_file.ts";
import type { RulerTask } from "../../ruler/tasks.ts";

const MAX_BYTES = 2 ** 20;

/** Tasks of one's own, by their names. */
export type OwnTasks = ReadonlyMap<string, OwnTask>;

/** A task of one's own: a generator's settings, or a module's code. */
export type OwnTask = (RulerTask | ModuleTask) & { readonly metric: TaskMetric };

/** Names that mean something already. */
const BENCHMARK_TASKS = [...Object.keys(tasksOf("pinned")), ...BABILONG_TASKS];

const MODULE = /\.(ts|mts|js|mjs)$/;

/**
 * Reads tasks of one's own.
 *
 * @param path A YAML or JSON file, or a module, which is run; none if it is undefined.
 * @throws {FileError} If it cannot be read, or an entry is no task.
 */
export async function readTasksFile(
  path: string | undefined,
  options: { generators?: Generators | undefined } = {},
): Promise<OwnTasks> {
  if (path === undefined) return new Map();
  const text = await readTextFile(path, { maxBytes: MAX_BYTES });
  if (MODULE.test(path)) return await importTasks(path, text);
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

async function importTasks(path: string, text: string): Promise<OwnTasks> {
  let exported: { tasks?: unknown };
  try {
    exported = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new FileError(`Cannot use ${path}: ${errorText(error)}`, { cause: error });
  }
  const sha256 = createHash("sha256").update(text).digest("hex");
  return checkTasks(exported.tasks, { path, sha256 }, (name) => BENCHMARK_TASKS.includes(name));
}

/** One of RULER's own tasks. */
export function rulerTask(task: string, generators: Generators = "pinned"): RulerTask {
  const tasks = tasksOf(generators);
  const found = Object.hasOwn(tasks, task) ? tasks[task] : undefined;
  invariant(found !== undefined, `${task} is one of RULER's`);
  return found;
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
): OwnTask {
  const { flag = "--task", own = new Map(), generators = "pinned" } = options;
  const tasks = tasksOf(generators);
  const found = own.get(task) ?? (Object.hasOwn(tasks, task) ? tasks[task] : undefined);
  if (found !== undefined) return found;
  const names = [...Object.keys(tasks), ...own.keys()].join(", ");
  throw new UsageError(`${flag}: must be one of ${names}: current value is '${task}'`);
}
