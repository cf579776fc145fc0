/**
 * Results of which only the summaries are left, as the original's programs write them.
 *
 * @module
 */
import { listFolder } from "../../lib/files.ts";
import { readSummary } from "../../ruler/gather.ts";
import type { MeanScore } from "../../ruler/scores.ts";

/** What a summary says of a task. */
export interface TaskSummary {
  readonly task: string;
  /** Undefined where the task has no score. */
  readonly mean: MeanScore | undefined;
}

/**
 * Reads `summary.csv` and `summary-<task>.csv` of a length's folder.
 *
 * @returns One summary per task, without a standard error.
 * @throws {FileError} If a file is damaged.
 */
export async function readSummaries(folder: string): Promise<TaskSummary[]> {
  const found = new Map<string, TaskSummary>();
  for (const { name } of await listFolder(folder)) {
    if (!/^summary(-.*)?\.csv$/.test(name)) continue;
    for (const result of await taskSummaries(`${folder}/${name}`)) {
      found.set(result.task, result);
    }
  }
  return [...found.values()];
}

async function taskSummaries(path: string): Promise<TaskSummary[]> {
  const { tasks, scores, nulls } = await readSummary(path);
  return tasks.map((task, column) => {
    const mean = Number(scores[column]);
    const count = Number(nulls[column]?.split("/")[1]);
    return {
      task,
      mean: Number.isFinite(mean) ? { mean, stderr: undefined, count } : undefined,
    };
  });
}
