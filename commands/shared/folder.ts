/**
 * Folders that results are written to.
 *
 * @module
 */
import { errorText, FileError } from "../../lib/errors.ts";

/** Makes a folder with those above it. @throws {FileError} If that fails. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw new FileError(`Cannot write to ${path}: ${errorText(error)}`, { cause: error });
  }
}
