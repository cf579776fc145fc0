/**
 * Fetches rows of BABILong: the Parquet files that the Hugging Face hub makes of every data set, with
 * the digests that the hub lists.
 *
 * @module
 */
import { datasetOf, taskFolder } from "../../babilong/mod.ts";
import { FileError } from "../../lib/errors.ts";
import { fetchFile } from "./fetch_file.ts";
import { listRepository } from "./hub.ts";
import type { Patience } from "./http.ts";
import type { Progress } from "./progress.ts";

/** Where the hub keeps what it converted. */
const REVISION = "refs/convert/parquet";

/** Options of {@linkcode downloadBabilong}. */
export interface DownloadBabilongOptions {
  readonly splits: readonly string[];
  readonly tasks: readonly string[];
  /** The hub's address, without a slash at its end. */
  readonly endpoint: string;
  readonly progress: Progress;
  readonly patience: Patience;
}

/**
 * Downloads the rows of some tasks; files that are there with the known content are kept.
 *
 * @param folder The data folder; takes `babilong/<split>/<task>/*.parquet`.
 * @param options Which rows.
 * @throws {FileError} If the hub lacks a task, or a file cannot be had or written.
 */
export async function downloadBabilong(
  folder: string,
  options: DownloadBabilongOptions,
): Promise<void> {
  const { splits, tasks, endpoint, progress, patience } = options;
  const note = (text: string) => progress.note(text);
  for (const name of new Set(splits.map(datasetOf))) {
    const files = await listRepository({
      ...{ endpoint, name, patience, note, revision: REVISION, kind: "datasets" },
      token: undefined,
    });
    for (const split of splits.filter((split) => datasetOf(split) === name)) {
      for (const task of tasks) {
        const own = files.filter(({ name }) =>
          new RegExp(`^${split}/${task}/\\d+\\.parquet$`).test(name)
        );
        if (own.length === 0) {
          throw new FileError(
            `Cannot fetch ${task} of ${split} as ${name} must have it: it has not`,
          );
        }
        for (const file of own) {
          const path = `${folder}/${taskFolder(split, task)}/${file.name.split("/").at(-1)}`;
          const label = `${split} ${task} ${file.name.split("/").at(-1)}`;
          await fetchFile(path, [file.address], { check: file.check, label, progress, patience });
        }
      }
    }
  }
}
