/**
 * Looks at files and folders, replaces, renames and removes files, puts names on disk, and words what
 * the operating system says.
 *
 * @module
 */
import { dirname } from "node:path";
import { errorText, FileError } from "./errors.ts";

/**
 * What a folder holds.
 *
 * @throws {FileError} If it is none, is missing, or cannot be read.
 */
export async function listFolder(folder: string): Promise<Deno.DirEntry[]> {
  try {
    return await Array.fromAsync(Deno.readDir(folder));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotADirectory)) throw readError(folder, error);
    throw new FileError(`Cannot read ${folder}: it is not a folder`, { cause: error });
  }
}

/** Whether a path leads to a file, a link to one included; false where it cannot be looked at. */
export async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isFile }) => isFile, () => false);
}

/** Whether a path leads to a folder, a link to one included; false where it cannot be looked at. */
export async function isFolder(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
}

/**
 * Gives a file another name; one that has it is replaced. The folder's entry is on disk, too, when
 * this returns.
 *
 * @throws {FileError} If it cannot be renamed.
 */
export async function renameFile(from: string, path: string): Promise<void> {
  await writing(path, async () => {
    await Deno.rename(from, path);
    await syncFolder(dirname(path));
  });
}

/**
 * Removes a file, or with `recursive` a folder and all that it holds; what is not there is no fault.
 *
 * @throws {FileError} If it cannot be removed.
 */
export async function removeFile(
  path: string,
  options: { recursive?: boolean } = {},
): Promise<void> {
  try {
    await Deno.remove(path, options);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new FileError(`Cannot remove ${path}: ${errorText(error)}`, { cause: error });
  }
}

/**
 * Waits until names that were made, changed or removed in a folder are on disk: a file that is
 * written and synced can otherwise lose its name when the machine stops.
 *
 * @param path The folder. Where a file system cannot do that, nothing happens.
 */
export async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  } catch {
    // Some file systems, and systems other than Linux, know no such thing for folders.
  }
}

/** A temporary file that nobody has written to for so long was left behind by a killed process. */
const STALE_MS = 3_600_000;

/**
 * Writes a file as a whole: under another name first, so that a failure leaves what was there. The
 * other name is this call's alone, so that two writers never mix; the folder's entry is on disk, too,
 * when this returns.
 *
 * @param path The file; one that exists is replaced.
 * @param parts Its text, piece by piece.
 * @throws {FileError} If it cannot be written. Errors of `parts` pass through.
 */
export async function replaceFile(
  path: string,
  parts: Iterable<string> | AsyncIterable<string>,
): Promise<void> {
  await removeStale(path);
  const unfinished = `${path}.${crypto.randomUUID()}.unfinished`;
  try {
    using file = await writing(path, () => Deno.open(unfinished, CREATE));
    const encoder = new TextEncoder();
    for await (const part of parts) {
      const bytes = encoder.encode(part);
      for (let at = 0; at < bytes.length;) {
        at += await writing(path, () => file.write(bytes.subarray(at)));
      }
    }
    await writing(path, () => file.syncData());
    await renameFile(unfinished, path);
  } catch (error) {
    await Deno.remove(unfinished).catch(() => undefined);
    throw error;
  }
}

const CREATE: Deno.OpenOptions = { write: true, createNew: true };

/** Removes temporary files of `path` that killed processes left. */
async function removeStale(path: string): Promise<void> {
  const folder = dirname(path);
  const prefix = `${path.slice(path.lastIndexOf("/") + 1)}.`;
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.startsWith(prefix) || !name.endsWith(".unfinished")) continue;
      const { mtime } = await Deno.stat(`${folder}/${name}`);
      const isStale = mtime !== null && Date.now() - mtime.getTime() > STALE_MS;
      if (isStale) await Deno.remove(`${folder}/${name}`);
    }
  } catch {
    // Another process may have removed it first; a folder that is missing is told by the write.
  }
}

/**
 * Runs what writes `path`.
 *
 * @throws {FileError} As {@linkcode writeError}, whatever `run` throws.
 */
export async function writing<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw writeError(path, error);
  }
}

/** The error of the operating system about reading `path`; a {@linkcode FileError} is passed on. */
export function readError(path: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  const reason = error instanceof Deno.errors.NotFound ? "it does not exist" : errorText(error);
  return new FileError(`Cannot read ${path}: ${reason}`, { cause: error });
}

/** The error of the operating system about writing `path`; a {@linkcode FileError} is passed on. */
export function writeError(path: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  return new FileError(`Cannot write ${path}: ${errorText(error)}`, { cause: error });
}
