/**
 * Results of which only the summaries are left, as the original's programs write them.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { readLines } from "../../ruler/files.ts";
import { strip } from "../../ruler/python/text.ts";
import type { TaskResult } from "./experiment.ts";

/**
 * Reads `summary.csv` and `summary-<task>.csv` of a length's folder.
 *
 * @returns One result per task, without samples and without errors.
 * @throws {FileError} If a file is damaged.
 */
export async function readSummaries(
  folder: string,
  options: { maxTokens: number },
): Promise<TaskResult[]> {
  const found = new Map<string, TaskResult>();
  for await (const { name } of Deno.readDir(folder)) {
    if (!/^summary(-.*)?\.csv$/.test(name)) continue;
    for (const result of await readSummary(`${folder}/${name}`, options)) {
      found.set(result.task, result);
    }
  }
  return [...found.values()];
}

async function readSummary(path: string, options: { maxTokens: number }): Promise<TaskResult[]> {
  const rows: string[][] = [];
  for await (const line of readLines(path)) rows.push(strip(line).split(",").slice(1));
  const [, tasks = [], scores = [], nulls = []] = rows;
  if (tasks.length === 0 || scores.length !== tasks.length || nulls.length !== tasks.length) {
    throw new FileError(
      `Cannot read ${path} as its rows must be equally long: found ${tasks.length} tasks, ` +
        `${scores.length} scores, ${nulls.length} null counts`,
    );
  }
  return tasks.map((task, column) => {
    const mean = Number(scores[column]);
    const count = Number(nulls[column]?.split("/")[1]);
    return {
      task,
      maxTokens: options.maxTokens,
      mean: Number.isFinite(mean) ? { mean, stderr: undefined, count } : undefined,
      samples: [],
      seconds: undefined,
      density: undefined,
    };
  });
}
