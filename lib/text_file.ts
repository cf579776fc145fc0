/**
 * Reads text files, whole or line by line, and JSON files, and words what is wrong with them.
 *
 * @module
 */
import { errorText, FileError } from "./errors.ts";
import { readError } from "./files.ts";

/** Options of {@linkcode readTextFile} and {@linkcode readJsonFile}. */
export interface ReadTextOptions {
  /** A larger file is refused before it is read. */
  readonly maxBytes: number;
}

/**
 * Reads a UTF-8 file; a byte order mark at its start is dropped.
 *
 * @param path The file.
 * @param options The limit on its size.
 * @returns Its text.
 * @throws {FileError} If it is missing, no file, larger than the limit, or not UTF-8.
 */
export async function readTextFile(path: string, options: ReadTextOptions): Promise<string> {
  let bytes: Uint8Array;
  try {
    const { isFile, size } = await Deno.stat(path);
    if (!isFile) throw new FileError(`Cannot read ${path}: it is not a file`);
    if (size > options.maxBytes) {
      throw new FileError(
        `Cannot read ${path} as it may have at most ${options.maxBytes} bytes: current value is ${size}`,
      );
    }
    bytes = await Deno.readFile(path);
  } catch (error) {
    throw readError(path, error);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw notUtf8(path, error);
  }
}

function notUtf8(path: string, cause: unknown): FileError {
  return new FileError(`Cannot read ${path}: it is not UTF-8 text`, { cause });
}

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
    if (error instanceof TypeError) throw notUtf8(path, error);
    throw readError(path, error);
  }
  if (rest !== "") yield rest;
}

/** How the file begins that git leaves in place of a large one. */
const LFS_POINTER = "version https://git-lfs.github.com/spec/";

/** @throws {FileError} If a file's beginning is that of a Git LFS pointer. */
export function refuseLfsPointer(begin: string, path: string): void {
  if (!begin.startsWith(LFS_POINTER)) return;
  throw new FileError(
    `Cannot read ${path}: it is a Git LFS pointer, not the file itself ('git lfs pull' fetches it)`,
  );
}

/**
 * Reads a JSON file. Python's json writes numbers that are not finite by their names, and reads them:
 * `Infinity` is one here, and `NaN` a text, which no key that asks for a number takes.
 *
 * @param path The file.
 * @param options The limit on its size.
 * @returns The parsed value.
 * @throws {FileError} As {@linkcode readTextFile}, and if it is not JSON.
 */
export async function readJsonFile(path: string, options: ReadTextOptions): Promise<unknown> {
  const text = await readTextFile(path, options);
  refuseLfsPointer(text, path);
  try {
    return JSON.parse(text);
  } catch (error) {
    const named = withNamedNumbers(text);
    if (named !== undefined) return named.value;
    throw new FileError(`Cannot read ${path}: it is not JSON (${errorText(error)})`, {
      cause: error,
    });
  }
}

/** The value of a text that is JSON but for `NaN` and `Infinity`. */
function withNamedNumbers(text: string): { readonly value: unknown } | undefined {
  const numbers: Readonly<Record<string, string>> = {
    "NaN": '"NaN"',
    "Infinity": "1e999",
    "-Infinity": "-1e999",
  };
  const json = text.replace(
    /"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g,
    (found) => numbers[found] ?? found,
  );
  try {
    return json === text ? undefined : { value: JSON.parse(json) };
  } catch {
    return undefined;
  }
}

/** Whether a parsed JSON value is an object. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A parsed JSON value in a few words, for the end of an error message. */
export function describeValue(value: unknown): string {
  if (value === undefined) return "missing";
  if (Array.isArray(value)) {
    const simple = value.length <= 8 && value.every((item) => typeof item === "number");
    return simple ? `[${value.join(", ")}]` : `an array of ${value.length}`;
  }
  if (typeof value === "object" && value !== null) return "an object";
  if (typeof value !== "string") return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
}
