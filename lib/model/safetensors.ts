/**
 * Parses the header of a safetensors file: which tensor lies where.
 *
 * The format is that of huggingface/safetensors (README, "Format"): 8 bytes of little-endian header
 * length, a JSON object of that length, then the tensors' bytes without holes. Every rule is
 * checked here, so that nobody behind this file can be led outside the file's bytes.
 *
 * @module
 */
import { errorText, FileError } from "../errors.ts";
import { describeValue, isJsonObject, refuseLfsPointer } from "../text_file.ts";

/** Bytes of one element, for each dtype of the format that has whole bytes. */
const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
  C64: 8,
} as const;

/** A dtype of the format, as its files spell it. */
export type SafetensorsDtype = keyof typeof ELEMENT_BYTES;

/** Where a tensor lies in its file. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file, at any address. */
  readonly begin: number;
  /** The byte after the last one. */
  readonly end: number;
}

/** Bytes in front of the JSON header: its length. */
const LENGTH_BYTES = 8;

/** The largest header that the format's own library reads. */
const MAX_HEADER_BYTES = 100_000_000;

const MAX_RANK = 8;

/** A tensor whose place is checked against its own shape, not against its neighbours yet. */
interface Place {
  readonly path: string;
  readonly dataBegin: number;
  readonly dataBytes: number;
}

/**
 * Parses and checks a file's header.
 *
 * @param bytes The whole file, mapped or read.
 * @param options The path that error messages name.
 * @returns The tensors by name, in the order of their bytes.
 * @throws {FileError} If the header is longer than the file or not JSON, a name stands twice, a
 * dtype is unknown, an offset lies outside the file or does not match shape and dtype, or tensors overlap or leave holes; the message names file, tensor, rule and found value.
 */
export function parseSafetensors(
  bytes: Uint8Array,
  options: { path: string },
): ReadonlyMap<string, TensorEntry> {
  const { path } = options;
  const headerBytes = readHeaderLength(bytes, path);
  const dataBegin = LENGTH_BYTES + headerBytes;
  const header = parseHeader(bytes.subarray(LENGTH_BYTES, dataBegin), path);
  const place = { path, dataBegin, dataBytes: bytes.byteLength - dataBegin };
  const entries = Object.entries(header)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => readEntry(name, value, place))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkNeighbours(entries, place);
  return new Map(entries.map((entry) => [entry.name, entry]));
}

/** Enough to know a Git LFS pointer by. */
const POINTER_BYTES = 64;

function readHeaderLength(bytes: Uint8Array, path: string): number {
  if (bytes.byteLength < LENGTH_BYTES) {
    throw new FileError(
      `Cannot read ${path} as it must start with a header length of 8 bytes: current value is ${bytes.byteLength} bytes in all`,
    );
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const limit = Math.min(bytes.byteLength - LENGTH_BYTES, MAX_HEADER_BYTES);
  if (length > BigInt(limit)) {
    refuseLfsPointer(new TextDecoder().decode(bytes.subarray(0, POINTER_BYTES)), path);
    throw new FileError(
      `Cannot read ${path} as its header may have at most ${limit} bytes: current value is ${length}`,
    );
  }
  return Number(length);
}

function parseHeader(bytes: Uint8Array, path: string): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw new FileError(`Cannot read ${path}: its header is not JSON (${errorText(error)})`, {
      cause: error,
    });
  }
  if (!isJsonObject(header)) {
    throw new FileError(
      `Cannot read ${path} as its header must be a JSON object: current value is ${
        describeValue(header)
      }`,
    );
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) {
    throw new FileError(
      `Cannot read ${path} as a tensor's name must stand once in its header: ${
        describeValue(repeated)
      } stands twice`,
    );
  }
  return header;
}

/**
 * The first key that stands twice in a JSON object, which `JSON.parse` does not tell.
 *
 * @param json The text of an object, known to be valid JSON.
 */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") depth--;
    else if (char === '"') {
      const end = stringEnd(json, at);
      if (depth === 1 && isFollowedByColon(json, end)) {
        const key: unknown = JSON.parse(json.slice(at, end));
        if (typeof key === "string" && seen.has(key)) return key;
        seen.add(String(key));
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** The index behind the closing quote of the string that opens at `start`. */
function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (at < json.length && json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
  return at + 1;
}

function isFollowedByColon(json: string, start: number): boolean {
  let at = start;
  while (" \t\n\r".includes(json[at] ?? ":")) at++;
  return json[at] === ":";
}

function readEntry(name: string, value: unknown, place: Place): TensorEntry {
  const refuse = (expected: string, found: unknown) =>
    new FileError(
      `Cannot read ${place.path} as tensor ${describeValue(name)} must have ${expected}: ` +
        `current value is ${describeValue(found)}`,
    );
  if (!isJsonObject(value)) throw refuse("an object in the header", value);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw refuse(`a dtype of ${Object.keys(ELEMENT_BYTES).join(", ")}`, dtype);
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isSize)) {
    throw refuse(`a shape of at most ${MAX_RANK} whole numbers`, shape);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw refuse("data_offsets of two whole numbers", offsets);
  }
  const [begin = 0, end = 0]: number[] = offsets;
  if (begin > end) throw refuse("data_offsets in rising order", offsets);
  if (end > place.dataBytes) {
    throw refuse(`data_offsets within the file's ${place.dataBytes} bytes of data`, offsets);
  }
  const size = ELEMENT_BYTES[dtype];
  const expectedBytes = shape.reduce((product: number, extent: number) => product * extent, size);
  // A product beyond 2^53 is not exact, but then also larger than any file.
  if (end - begin !== expectedBytes) {
    throw refuse(`${expectedBytes} bytes for ${dtype} [${shape.join(", ")}]`, end - begin);
  }
  return { name, dtype, shape, begin: place.dataBegin + begin, end: place.dataBegin + end };
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === "string" && Object.hasOwn(ELEMENT_BYTES, value);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && typeof value === "number" && value >= 0;
}

/** Checks that the tensors, sorted by their bytes, fill the data without overlap or hole. */
function checkNeighbours(entries: readonly TensorEntry[], place: Place): void {
  const fileBytes = place.dataBegin + place.dataBytes;
  let filled = place.dataBegin;
  let previous = "the header";
  for (const entry of entries) {
    if (entry.begin !== filled) {
      throw new FileError(
        `Cannot read ${place.path} as tensor ${describeValue(entry.name)} must begin where ` +
          `${previous} ends, at byte ${filled}: current value is ${entry.begin}`,
      );
    }
    filled = entry.end;
    previous = describeValue(entry.name);
  }
  if (filled !== fileBytes) {
    throw new FileError(
      `Cannot read ${place.path} as it must end behind its last tensor, at byte ${filled}: ` +
        `current value is ${fileBytes}`,
    );
  }
}
