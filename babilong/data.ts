/**
 * The rows of a task, from the Parquet files in the data folder: `babilong/<split>/<task>/*.parquet`.
 *
 * @module
 */
import { readParquet } from "../lib/deps/parquet.ts";
import { FileError } from "../lib/errors.ts";
import { listFolder } from "../lib/files.ts";
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
 * @throws {FileError} If their folder cannot be read.
 */
export async function taskFiles(
  folder: string,
  place: { split: string; task: string },
): Promise<string[]> {
  const path = `${folder}/${taskFolder(place.split, place.task)}`;
  const entries = await listFolder(path).catch((error) => {
    if (error instanceof FileError && error.cause instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  const names = entries.map(({ name }) => name).filter((name) => name.endsWith(".parquet"));
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
