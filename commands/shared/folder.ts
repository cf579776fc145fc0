/**
 * Folders that results are written to.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { errorText, FileError } from "../../lib/errors.ts";
import { syncFolder } from "../../lib/files.ts";

/**
 * Makes a folder with those above it. Their names are on disk when this returns, as those of the
 * files in them will be.
 *
 * @throws {FileError} If that fails.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    const missing = await missingFolders(resolve(path));
    await Deno.mkdir(path, { recursive: true });
    for (const folder of missing) await syncFolder(dirname(folder));
  } catch (error) {
    throw new FileError(`Cannot write to ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** A folder and those above it that do not exist, the highest first. */
async function missingFolders(path: string): Promise<string[]> {
  const exists = await Deno.stat(path).then(() => true, () => false);
  return exists || dirname(path) === path ? [] : [...await missingFolders(dirname(path)), path];
}
