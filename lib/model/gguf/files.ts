/**
 * Which files a model in GGUF form has, and their headers.
 *
 * A large model may be split: `NAME-00001-of-00003.gguf` has the metadata, each file the lines of its
 * own tensors.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { FileError } from "../../errors.ts";
import { readRange } from "../../file_range.ts";
import { readError } from "../../files.ts";
import { type GgufHeader, parseGguf } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";

const FIRST_BYTES = 2 ** 20;
/** Far more than the largest vocabulary takes. */
const MAX_HEADER_BYTES = 2 ** 28;
const MAX_FILES = 1000;
const SPLIT_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;

/** Whether a model's path is that of a GGUF file, and not of a folder. */
export function isGgufPath(path: string): boolean {
  return /\.gguf$/i.test(path);
}

/**
 * Reads a file's header, and no more of the file than it takes.
 *
 * @throws {FileError} If it cannot be read, or as `parseGguf()`.
 */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  try {
    using file = await Deno.open(path, { read: true });
    const { size: fileBytes, isFile } = await file.stat();
    if (!isFile) throw new FileError(`Cannot read ${path}: it is not a file`);
    for (let length = FIRST_BYTES;; length *= 4) {
      const bytes = await readRange(file, { begin: 0, end: Math.min(length, fileBytes) });
      const header = parseGguf(bytes, { path, fileBytes });
      if (header !== undefined) return header;
      if (length >= MAX_HEADER_BYTES) {
        throw new FileError(
          `Cannot read ${path} as its header may have at most ${MAX_HEADER_BYTES} bytes: ` +
            "it is longer",
        );
      }
      if (bytes.byteLength < Math.min(length, fileBytes)) {
        throw new FileError(`Cannot read ${path}: it became shorter while it was read`);
      }
    }
  } catch (error) {
    throw readError(path, error);
  }
}

/**
 * The files of a model, the given one first.
 *
 * @param path The file, or the first one of several.
 * @throws {FileError} If it is another one of several, or its name and its metadata disagree.
 */
export async function listGgufFiles(path: string): Promise<readonly string[]> {
  const { metadata } = await readGgufHeader(path);
  return splitFiles(path, metadata);
}

/** As {@linkcode listGgufFiles}, of a file whose metadata is known. */
function splitFiles(path: string, metadata: GgufMetadata): readonly string[] {
  const count = metadata.number("split.count") ?? 1;
  if (count <= 1) return [path];
  if (!Number.isInteger(count) || count > MAX_FILES) {
    throw metadata.refusal("split.count", `a whole number up to ${MAX_FILES}`);
  }
  const [, stem, number, total] = SPLIT_NAME.exec(basename(path)) ?? [];
  const last = `${count}`.padStart(5, "0");
  if (stem === undefined || total !== last) {
    throw new FileError(
      `Cannot read ${path} as a part of a model in ${count} files must be named ` +
        `NAME-00001-of-${last}.gguf`,
    );
  }
  const nameOf = (part: number) => `${stem}-${`${part}`.padStart(5, "0")}-of-${last}.gguf`;
  if (Number(number) !== 1 || (metadata.number("split.no") ?? 0) !== 0) {
    throw new FileError(
      `Cannot read ${path} as the first of the model's ${count} files must be given: ` +
        `it is ${nameOf(1)}`,
    );
  }
  const folder = dirname(path);
  return Array.from({ length: count }, (_, i) => i === 0 ? path : join(folder, nameOf(i + 1)));
}

/** Checks that a file is the one of its place. @throws {FileError} If it is another one. */
export function checkPart(
  header: GgufHeader,
  options: { index: number; count: number },
): void {
  const { index, count } = options;
  const { metadata } = header;
  if (count === 1) return;
  if ((metadata.number("split.no") ?? -1) !== index) throw metadata.refusal("split.no", `${index}`);
  if (metadata.number("split.count") !== count) throw metadata.refusal("split.count", `${count}`);
}

/** The headers of all files of a model. @throws {FileError} If one is missing or damaged. */
export async function readGgufHeaders(path: string): Promise<readonly GgufHeader[]> {
  const first = await readGgufHeader(path);
  const paths = splitFiles(path, first.metadata);
  const headers = [first];
  for (const [index, other] of paths.entries()) {
    if (index === 0) continue;
    const header = await readGgufHeader(other);
    checkPart(header, { index, count: paths.length });
    headers.push(header);
  }
  return headers;
}
