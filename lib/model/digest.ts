/**
 * A fingerprint of a model, so that results are never continued with another model.
 *
 * It reads about 8 MiB of each weight file, whatever its size: 0.1 s where hashing 16 GB would take
 * half a minute. It tells models apart that differ in shape, training or fine-tuning, as these
 * change nearly every weight; it is no protection against somebody who edits single weights.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { basename, dirname } from "node:path";
import { FileError } from "../errors.ts";
import { readRange } from "../file_range.ts";
import { readError } from "../files.ts";
import { isGgufPath, readGgufHeader } from "./gguf/files.ts";
import { configPath, tokenizerPath } from "./model_paths.ts";
import { heardSettings, readTokenizerFile } from "./tokenizer_file.ts";
import { listWeightFiles } from "./weight_files.ts";

const EDGE_BYTES = 1 << 20;
const PAGE_BYTES = 1 << 12;
/** Pages between the edges, at equal distances: 6 MiB. */
const PAGE_COUNT = 1536;
/** Files up to this size are hashed in full. */
const WHOLE_BYTES = 2 * EDGE_BYTES + PAGE_COUNT * PAGE_BYTES;

/** A stretch of a file, in bytes. */
interface Span {
  readonly begin: number;
  readonly end: number;
}

/**
 * The fingerprint of a model.
 *
 * SHA-256 over `config.json`, `tokenizer.json`, and each weight file's name, size, first and last
 * MiB (the first holds the header) and 1,536 pages of 4 KiB at equal distances between them; files
 * up to 8 MiB count in full. Of a GGUF file the header counts in full, then its data as a file of its
 * own would; a `tokenizer.json` that is taken in place of its tables counts, too, and so does what
 * `tokenizer_config.json` changes in ids or texts.
 *
 * @param folder The model folder, or a GGUF file.
 * @returns 64 hexadecimal digits.
 * @throws {FileError} If one of the files is missing or not readable.
 */
export async function modelDigest(folder: string): Promise<string> {
  return await digestOfModel(folder, await settingsOf(folder));
}

/**
 * The digest of a model's `tokenizer.json`, or of the tables in its GGUF file that stand for it.
 *
 * @returns 64 hexadecimal digits.
 * @throws {FileError} If it is missing or not readable.
 */
export async function tokenizerDigest(folder: string): Promise<string> {
  return await digestOfTokenizer(folder, await settingsOf(folder));
}

/** What a record of a run says of its model. */
export interface ModelDigests {
  /** As {@linkcode modelDigest}. */
  readonly model: string;
  /** As {@linkcode tokenizerDigest}. */
  readonly tokenizer: string;
}

/** Both digests of a model, whose tokenizer is parsed at most once. @throws {FileError} As they do. */
export async function modelDigests(folder: string): Promise<ModelDigests> {
  const settings = await settingsOf(folder);
  return {
    model: await digestOfModel(folder, settings),
    tokenizer: await digestOfTokenizer(folder, settings),
  };
}

async function digestOfModel(folder: string, settings: string): Promise<string> {
  const { paths } = await listWeightFiles(folder);
  const hash = createHash("sha256");
  for (const path of new Set([configPath(folder), await tokenizerPath(folder)])) {
    if (!paths.includes(path)) await hashFile(hash, path, wholeSpan);
  }
  hash.update(settings);
  for (const path of paths) {
    const begin = isGgufPath(folder) ? (await readGgufHeader(path)).dataBegin : 0;
    await hashFile(hash, path, (size) => sampleSpans(size, begin));
  }
  return hash.digest("hex");
}

async function digestOfTokenizer(folder: string, settings: string): Promise<string> {
  const hash = createHash("sha256");
  const path = await tokenizerPath(folder);
  if (path === folder) hash.update((await readTokenizerFile(folder)).json);
  else await hashFile(hash, path, wholeSpan);
  hash.update(settings);
  return hash.digest("hex");
}

/** What counts of the `tokenizer_config.json` beside a tokenizer's file; nothing where it changes nothing. */
async function settingsOf(model: string): Promise<string> {
  const path = await tokenizerPath(model);
  return path === model ? "" : await heardSettings(dirname(path)) ?? "";
}

function wholeSpan(size: number): readonly Span[] {
  return [{ begin: 0, end: size }];
}

/** What is hashed of a file of `size` bytes, all up to `start` included. */
function sampleSpans(size: number, start: number): readonly Span[] {
  const rest = size - start;
  if (rest <= WHOLE_BYTES) return wholeSpan(size);
  const pitch = (rest - 2 * EDGE_BYTES) / PAGE_COUNT;
  const first = start + EDGE_BYTES;
  const pages = Array.from({ length: PAGE_COUNT }, (_, page) => {
    const begin = first + Math.floor(page * pitch);
    return { begin, end: begin + PAGE_BYTES };
  });
  return [{ begin: 0, end: first }, ...pages, { begin: size - EDGE_BYTES, end: size }];
}

async function hashFile(
  hash: Hash,
  path: string,
  spansOf: (size: number) => readonly Span[],
): Promise<void> {
  try {
    using file = await Deno.open(path, { read: true });
    const { size } = await file.stat();
    // Name and size in front keep the files' bytes from running into each other.
    hash.update(`${basename(path)}\0${size}\0`);
    for (const span of spansOf(size)) {
      const bytes = await readRange(file, span);
      if (bytes.byteLength !== span.end - span.begin) {
        throw new FileError(`Cannot read ${path}: it became shorter while it was read`);
      }
      hash.update(bytes);
    }
  } catch (error) {
    throw readError(path, error);
  }
}
