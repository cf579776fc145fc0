/**
 * Reads text files line by line, so that files larger than a string can hold pass through, and
 * replaces files as a whole.
 *
 * @module
 */
import { errorText, FileError } from "../lib/errors.ts";

/**
 * The lines of a UTF-8 file, without their newlines.
 *
 * @param path The file.
 * @throws {FileError} If it is missing, cannot be read, or is not UTF-8.
 */
export async function* readLines(path: string): AsyncGenerator<string> {
  let rest = "";
  try {
    using file = await Deno.open(path);
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const chunk = new Uint8Array(1 << 18);
    for (let read = await file.read(chunk); read !== null; read = await file.read(chunk)) {
      const lines = decoder.decode(chunk.subarray(0, read), { stream: true }).split("\n");
      lines[0] = rest + (lines[0] ?? "");
      rest = lines.pop() ?? "";
      yield* lines;
    }
    rest += decoder.decode();
  } catch (error) {
    throw readError(path, error);
  }
  if (rest !== "") yield rest;
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

/**
 * Writes a file as a whole: under another name first, so that a failure leaves what was there.
 *
 * @param path The file; one that exists is replaced.
 * @param parts Its text, piece by piece.
 * @throws {FileError} If it cannot be written. Errors of `parts` pass through.
 */
export async function replaceFile(
  path: string,
  parts: Iterable<string> | AsyncIterable<string>,
): Promise<void> {
  const unfinished = `${path}.unfinished`;
  try {
    using file = await writing(path, () => Deno.open(unfinished, CREATE));
    const encoder = new TextEncoder();
    for await (const part of parts) {
      const bytes = encoder.encode(part);
      for (let at = 0; at < bytes.length;) {
        at += await writing(path, () => file.write(bytes.subarray(at)));
      }
    }
    await writing(path, async () => {
      await file.syncData();
      await Deno.rename(unfinished, path);
    });
  } catch (error) {
    await Deno.remove(unfinished).catch(() => undefined);
    throw error;
  }
}

const CREATE: Deno.OpenOptions = { write: true, create: true, truncate: true };

/** Turns what the operating system says about `path` into a {@linkcode FileError}. */
async function writing<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw new FileError(`Cannot write ${path}: ${errorText(error)}`, { cause: error });
  }
}
