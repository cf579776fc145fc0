/**
 * Reads and writes files of JSON lines: one JSON value per line.
 *
 * @module
 */
import { dirname } from "node:path";
import { errorText, FileError } from "./errors.ts";
import { readRange } from "./file_range.ts";
import { readError, syncFolder, writeError } from "./files.ts";
import { isJsonObject } from "./text_file.ts";

const NEWLINE = 0x0a;
/** What a blank line and its end are made of; see {@linkcode withoutBlanks}. */
const BLANK_BYTES: readonly number[] = [0x20, 0x09, 0x0d, NEWLINE];
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** Far above a context of a million tokens, and below what a JavaScript string can hold. */
const MAX_LINE_BYTES = 1 << 28;

/** A value and where it stood. */
export interface JsonLine {
  /** Counted from 1. */
  readonly line: number;
  readonly value: unknown;
}

/**
 * Reads a file line by line, so that only one line is in memory.
 *
 * Blank lines at the end and a byte order mark at the start are allowed.
 *
 * @param path The file.
 * @returns The values in their order.
 * @throws {FileError} If the file is missing, or a line is blank, too long, not UTF-8 or not JSON;
 * the message names file and line.
 */
export async function* readJsonLines(path: string): AsyncGenerator<JsonLine> {
  for await (const { text, line } of withoutBlanks(decodeLines(path), path)) {
    yield { line, value: parseJsonLine(text, { path, line }) };
  }
}

async function* decodeLines(path: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let line = 0;
  for await (const bytes of readLines(path)) {
    line++;
    let text: string;
    try {
      text = decoder.decode(bytes);
    } catch (error) {
      throw new FileError(`Cannot read ${path}: line ${line} is not UTF-8 text`, { cause: error });
    }
    yield text;
  }
}

/**
 * The lines of a file with their numbers. Blank ones at the end are left out, and so is a byte order
 * mark at the start.
 *
 * A blank line has JSON's white space and nothing else, as for {@linkcode recoverJsonLines}.
 *
 * @param lines All lines, without their newlines.
 * @param path The file, for messages.
 * @throws {FileError} If a line with text follows a blank one.
 */
export async function* withoutBlanks(
  lines: AsyncIterable<string>,
  path: string,
): AsyncGenerator<{ text: string; line: number }> {
  let line = 0;
  let blankLine = 0;
  for await (const raw of lines) {
    line++;
    const text = line === 1 ? raw.replace(/^\ufeff/, "") : raw;
    if (/^[ \t\r]*$/.test(text)) {
      blankLine ||= line;
      continue;
    }
    if (blankLine > 0) throw new FileError(`Cannot read ${path}: line ${blankLine} is blank`);
    yield { text, line };
  }
}

/** The value of a line. @throws {FileError} If it is not JSON; the message names file and line. */
export function parseJsonLine(
  text: string,
  place: { path: string; line: number },
): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileError(
      `Cannot read ${place.path}: line ${place.line} is not JSON (${errorText(error)})`,
      { cause: error },
    );
  }
}

/** The lines of a file as bytes, without their newline. */
async function* readLines(path: string): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let partBytes = 0;
  let line = 1;
  for await (const chunk of readChunks(path)) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      yield joinParts(parts, chunk.subarray(start, end));
      parts = [];
      partBytes = 0;
      start = end + 1;
      line++;
    }
    parts.push(chunk.subarray(start));
    partBytes += chunk.byteLength - start;
    if (partBytes > MAX_LINE_BYTES) {
      throw new FileError(
        `Cannot read ${path} as a line may have at most ${MAX_LINE_BYTES} bytes: line ${line} has more`,
      );
    }
  }
  if (partBytes > 0) yield joinParts(parts, new Uint8Array(0));
}

function joinParts(parts: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  if (parts.length === 0) return last;
  const all = [...parts, last];
  const joined = new Uint8Array(all.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.byteLength;
  }
  return joined;
}

async function* readChunks(path: string): AsyncGenerator<Uint8Array> {
  try {
    const file = await Deno.open(path, { read: true });
    yield* file.readable;
  } catch (error) {
    throw readError(path, error);
  }
}

/** Options of {@linkcode JsonLinesWriter.open}. */
export interface JsonLinesWriterOptions {
  /**
   * Turns a record into one line of JSON.
   *
   * @default {JSON.stringify}
   */
  readonly format?: (record: unknown) => string;
}

/** Appends records to a file of JSON lines, each on disk before `append()` returns. */
export class JsonLinesWriter implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  readonly #format: (record: unknown) => string;
  #disposed = false;

  private constructor(file: Deno.FsFile, path: string, format: (record: unknown) => string) {
    this.#file = file;
    this.#path = path;
    this.#format = format;
  }

  /**
   * Opens a file for appending; it is created if it is missing.
   *
   * @param path The file.
   * @param options How records are formatted.
   * @throws {FileError} If it cannot be written.
   */
  static async open(path: string, options: JsonLinesWriterOptions = {}): Promise<JsonLinesWriter> {
    try {
      const file = await Deno.open(path, { append: true, create: true });
      await syncFolder(dirname(path));
      return new JsonLinesWriter(file, path, options.format ?? JSON.stringify);
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /**
   * Appends one record: its line and the newline in one write, then waits for the disk.
   *
   * @param record A JSON value.
   * @throws {TypeError} If the writer is disposed, or the formatted record is not one line.
   * @throws {FileError} If the disk is full or fails, or the file was removed, moved or replaced
   * since it was opened: what is appended would be lost.
   */
  async append(record: unknown): Promise<void> {
    if (this.#disposed) throw new TypeError(`Cannot write ${this.#path} as it is closed`);
    const text = this.#format(record);
    if (text === undefined || text.includes("\n")) {
      throw new TypeError(`Cannot write ${this.#path} as a record must be one line of JSON`);
    }
    const bytes = new TextEncoder().encode(`${text}\n`);
    await this.#checkPlace();
    try {
      // A disk that fills up may take only a part; the next call then says why.
      for (let at = 0; at < bytes.byteLength;) at += await this.#file.write(bytes.subarray(at));
      await this.#file.syncData();
    } catch (error) {
      throw writeError(this.#path, error);
    }
  }

  /** @throws {FileError} If the name no longer leads to the opened file. */
  async #checkPlace(): Promise<void> {
    const [opened, named] = await Promise.all([
      this.#file.stat(),
      Deno.stat(this.#path).catch(() => undefined),
    ]);
    if (named !== undefined && named.ino === opened.ino && named.dev === opened.dev) return;
    throw new FileError(
      `Cannot write ${this.#path} as it was ${named === undefined ? "removed" : "replaced"} ` +
        "while the run went on: what follows would be lost",
    );
  }

  /** Closes the file; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#file.close();
  }
}

/**
 * Repairs a file whose writer was killed while writing: an unfinished last line is cut off, and so
 * are blank lines at the end. A last line that is whole but for its newline is kept, and the newline
 * added.
 *
 * @param path The file; a missing one is left missing.
 * @returns How many bytes were cut off.
 * @throws {FileError} If it cannot be read or written.
 */
export async function recoverJsonLines(path: string): Promise<number> {
  try {
    using file = await Deno.open(path, { read: true, write: true });
    const { size } = await file.stat();
    const lastEnd = await lastTextEnd(file, size);
    // A byte order mark alone is a blank line, too.
    const isMark = lastEnd === BYTE_ORDER_MARK.length &&
      (await readRange(file, { begin: 0, end: lastEnd })).every((b, i) => b === BYTE_ORDER_MARK[i]);
    const textEnd = isMark ? 0 : lastEnd;
    const newline = await nextNewline(file, { begin: textEnd, end: size });
    const isFinished = textEnd === 0 || newline !== undefined;
    const begin = isFinished ? 0 : await lastLineEnd(file, size);
    if (!isFinished && isWholeRecord(await readRange(file, { begin, end: size }))) {
      await file.seek(size, Deno.SeekMode.Start);
      await file.write(new Uint8Array([NEWLINE]));
      return 0;
    }
    const kept = !isFinished ? begin : newline === undefined || textEnd === 0 ? 0 : newline + 1;
    if (kept === size) return 0;
    await file.truncate(kept);
    await file.syncData();
    return size - kept;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw writeError(path, error);
  }
}

/** The offset of the first newline in a range of white space. */
async function nextNewline(
  file: Deno.FsFile,
  range: { begin: number; end: number },
): Promise<number | undefined> {
  const stepBytes = 1 << 16;
  for (let { begin } = range; begin < range.end; begin += stepBytes) {
    const end = Math.min(range.end, begin + stepBytes);
    const at = (await readRange(file, { begin, end })).indexOf(NEWLINE);
    if (at >= 0) return begin + at;
  }
  return undefined;
}

/** The offset behind the last byte that is no white space. */
async function lastTextEnd(file: Deno.FsFile, size: number): Promise<number> {
  const stepBytes = 1 << 16;
  for (let end = size; end > 0;) {
    const begin = Math.max(0, end - stepBytes);
    const bytes = await readRange(file, { begin, end });
    const at = bytes.findLastIndex((byte) => !BLANK_BYTES.includes(byte));
    if (at >= 0) return begin + at + 1;
    end = begin;
  }
  return 0;
}

/** The offset behind the last newline; 0 without one. */
async function lastLineEnd(file: Deno.FsFile, size: number): Promise<number> {
  const stepBytes = 1 << 16;
  for (let end = size; end > 0;) {
    const begin = Math.max(0, end - stepBytes);
    const at = (await readRange(file, { begin, end })).lastIndexOf(NEWLINE);
    if (at >= 0) return begin + at + 1;
    end = begin;
  }
  return 0;
}

/** Only an object is known to be whole: `12` may be the start of `123`. */
function isWholeRecord(bytes: Uint8Array): boolean {
  try {
    return isJsonObject(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
  } catch {
    return false;
  }
}
