/**
 * The rows of a task, from the Parquet files in the data folder: `babilong/<split>/<task>/*.parquet`.
 *
 * @module
 */
import { readParquet } from "../lib/deps/parquet.ts";
import type { BabilongRow } from "./model.ts";

const COLUMNS = ["input", "question", "target"] as const;

/** Where a task's files lie below the data folder. */
export function taskFolder(split: string, task: string): string {
  return `babilong/${split}/${task}`;
}

/**
 * The files of a task, in their order.
 *
 * @param folder The data folder.
 * @returns Their paths; none if the data is not there.
 */
export async function taskFiles(
  folder: string,
  place: { split: string; task: string },
): Promise<string[]> {
  const path = `${folder}/${taskFolder(place.split, place.task)}`;
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(path)) {
      if (name.endsWith(".parquet")) names.push(name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names.sort().map((name) => `${path}/${name}`);
}

/**
 * The rows of some files, one by one.
 *
 * @throws {FileError} If a file cannot be read, or lacks a column.
 */
export async function* readRows(paths: readonly string[]): AsyncGenerator<BabilongRow> {
  for (const path of paths) yield* readParquet(path, COLUMNS);
}
