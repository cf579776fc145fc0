/**
 * Reads text files line by line, so that files larger than a string can hold pass through, and
 * replaces files as a whole.
 *
 * @module
 */
import { dirname } from "node:path";
import { errorText, FileError } from "../lib/errors.ts";
import { syncFolder } from "../lib/sync_folder.ts";

/** A context of ten million tokens has some 45 million characters; more is no sample of a model. */
const MAX_LINE_LENGTH = 2 ** 26;

/**
 * The lines of a UTF-8 file, without their newlines.
 *
 * @param path The file.
 * @param options How large it may be.
 * @throws {FileError} If it is missing, cannot be read, is not UTF-8, or too large.
 */
export async function* readLines(
  path: string,
  options: { maxBytes?: number } = {},
): AsyncGenerator<string> {
  const { maxBytes = Infinity } = options;
  let rest = "";
  let bytes = 0;
  try {
    // To open a pipe would wait for whoever writes to it.
    if (!(await Deno.stat(path)).isFile) {
      throw new FileError(`Cannot read ${path}: it is not a file`);
    }
    using file = await Deno.open(path);
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const chunk = new Uint8Array(1 << 18);
    for (let read = await file.read(chunk); read !== null; read = await file.read(chunk)) {
      const lines = decoder.decode(chunk.subarray(0, read), { stream: true }).split("\n");
      lines[0] = rest + (lines[0] ?? "");
      rest = lines.pop() ?? "";
      bytes += read;
      if (rest.length > MAX_LINE_LENGTH || bytes > maxBytes) {
        const limit = bytes > maxBytes
          ? `the file may have at most ${maxBytes} bytes`
          : `a line may have at most ${MAX_LINE_LENGTH} characters`;
        throw new FileError(`Cannot read ${path} as ${limit}: it has more`);
      }
      yield* lines;
    }
    rest += decoder.decode();
  } catch (error) {
    throw readError(path, error);
  }
  if (rest !== "") yield rest;
}

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

/** What the operating system or the decoder says about `path`, as a {@linkcode FileError}. */
export function readError(path: string, error: unknown): FileError {
  if (error instanceof FileError) return error;
  const reason = error instanceof Deno.errors.NotFound
    ? "it does not exist"
    : error instanceof TypeError
    ? "it is not UTF-8 text"
    : errorText(error);
  return new FileError(`Cannot read ${path}: ${reason}`, { cause: error });
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

/** Turns what the operating system says about `path` into a {@linkcode FileError}. */
async function writing<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new FileError(`Cannot write ${path}: ${errorText(error)}`, { cause: error });
  }
}
