/**
 * Parses the header of a GGUF file: its metadata, and which tensor lies where.
 *
 * The format is that of ggml's `docs/gguf.md`, versions 2 and 3: magic, version and two counts, then
 * keys with values, then a line for each tensor, then the tensors' bytes, each at a multiple of the
 * alignment. Whatever is read is checked against the file's length first, so that nobody behind this
 * file can be led outside of it.
 *
 * @module
 */
import { FileError } from "../../errors.ts";
import { describeValue, refuseLfsPointer } from "../../text_file.ts";
import { type GgufArray, GgufMetadata, type GgufValue } from "./metadata.ts";
import { GgufReader, MoreBytesNeeded } from "./reader.ts";
import { READ_TYPE_NAMES, tensorType, typeName } from "./tensor_types.ts";
import type { GgufDtype } from "./tensor_types.ts";

/** A line about a tensor. */
export interface GgufTensorLine {
  readonly name: string;
  /** Row-major, as everywhere else here: the file has the extents in the other order. */
  readonly shape: readonly number[];
  /** A number of `enum ggml_type`. */
  readonly type: number;
  /** In bytes from where the data begins. */
  readonly offset: number;
}

/** A tensor whose place in the file is known to be right. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: GgufDtype;
  /** First byte, counted from the start of the file. */
  readonly begin: number;
  /** The byte after the last one. */
  readonly end: number;
}

/** A file's header. */
export interface GgufHeader {
  readonly path: string;
  readonly metadata: GgufMetadata;
  /** In the order of the file. */
  readonly lines: readonly GgufTensorLine[];
  readonly alignment: number;
  /** Where the tensors' bytes begin. */
  readonly dataBegin: number;
  readonly fileBytes: number;
}

const MAGIC = "GGUF";
const VERSIONS: readonly number[] = [2, 3];
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 2 ** 20;
/** The format's own limit. */
const MAX_KEY_BYTES = 2 ** 16 - 1;
const MAX_NAME_BYTES = 1024;
const MAX_RANK = 4;
/** What a key with its value, and a tensor's line, take at least. */
const LEAST_PAIR_BYTES = 8 + 4 + 1;
const LEAST_LINE_BYTES = 8 + 4 + 8 + 4 + 8;

/** `enum gguf_type`: bytes of the values that have a fixed size, and how to read one. */
const SCALARS: ReadonlyMap<
  number,
  { bytes: number; read: (view: DataView, at: number) => number }
> = new Map([
  [0, { bytes: 1, read: (view, at) => view.getUint8(at) }],
  [1, { bytes: 1, read: (view, at) => view.getInt8(at) }],
  [2, { bytes: 2, read: (view, at) => view.getUint16(at, true) }],
  [3, { bytes: 2, read: (view, at) => view.getInt16(at, true) }],
  [4, { bytes: 4, read: (view, at) => view.getUint32(at, true) }],
  [5, { bytes: 4, read: (view, at) => view.getInt32(at, true) }],
  [6, { bytes: 4, read: (view, at) => shortest(view.getFloat32(at, true)) }],
  [10, { bytes: 8, read: (view, at) => Number(view.getBigUint64(at, true)) }],
  [11, { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) }],
  [12, { bytes: 8, read: (view, at) => view.getFloat64(at, true) }],
]);
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

/**
 * The number of the fewest decimals that is this f32: 0.00001 where the file has 9.99999974e-6, as
 * the model's `config.json` says it.
 */
function shortest(value: number): number {
  for (let digits = 1; digits < 9 && Number.isFinite(value); digits++) {
    const decimal = Number(value.toPrecision(digits));
    if (Math.fround(decimal) === value) return decimal;
  }
  return value;
}

/**
 * Parses a header.
 *
 * @param bytes The file, or its first bytes.
 * @param options `fileBytes`: how many bytes the file has, if `bytes` are not all.
 * @returns Undefined if more of the file's bytes are needed.
 * @throws {FileError} If it is no GGUF file of a known version, a count or a length leads beyond the
 * file, a key or a tensor stands twice, or a value is of no known type; the message names the file,
 * what was read, and what was found.
 */
export function parseGguf(
  bytes: Uint8Array,
  options: { path: string; fileBytes?: number },
): GgufHeader | undefined {
  const { path, fileBytes = bytes.byteLength } = options;
  const reader = new GgufReader(bytes, { path, fileBytes });
  try {
    const { tensorCount, pairCount } = readStart(reader, path);
    const metadata = new GgufMetadata(readPairs(reader, { path, pairCount }), path);
    const lines = readLines(reader, { path, tensorCount });
    const alignment = readAlignment(metadata);
    const dataBegin = Math.ceil(reader.at / alignment) * alignment;
    return { path, metadata, lines, alignment, dataBegin, fileBytes };
  } catch (error) {
    if (error instanceof MoreBytesNeeded) return undefined;
    throw error;
  }
}

function readStart(
  reader: GgufReader,
  path: string,
): { tensorCount: number; pairCount: number } {
  const begin = reader.skip(MAGIC.length, "the magic of a GGUF file");
  const magic = String.fromCharCode(
    ...MAGIC.split("").map((_, i) => reader.view.getUint8(begin + i)),
  );
  if (magic !== MAGIC) {
    const start = new Uint8Array(reader.view.buffer, reader.view.byteOffset).subarray(0, 64);
    refuseLfsPointer(new TextDecoder().decode(start), path);
    throw new FileError(
      `Cannot read ${path} as a GGUF file must begin with "${MAGIC}": ` +
        `current value is ${describeValue(magic)}`,
    );
  }
  const version = reader.uint32("the version");
  if (!VERSIONS.includes(version)) {
    const isSwapped = version % 2 ** 16 === 0 && version !== 0;
    throw new FileError(
      `Cannot read ${path} as its GGUF version must be ${VERSIONS.join(" or ")}: ` +
        (isSwapped ? "the file is big-endian" : `current value is ${version}`),
    );
  }
  const tensorCount = reader.uint64("the number of tensors");
  const pairCount = reader.uint64("the number of keys");
  checkCount(tensorCount, { what: "tensors", least: LEAST_LINE_BYTES, reader, path });
  checkCount(pairCount, { what: "keys", least: LEAST_PAIR_BYTES, reader, path });
  return { tensorCount, pairCount };
}

/** Refuses a count of things that cannot all be in the file. */
function checkCount(
  count: number,
  options: { what: string; least: number; reader: GgufReader; path: string },
): void {
  const { what, least, reader, path } = options;
  if (count * least <= reader.left) return;
  throw new FileError(
    `Cannot read ${path} as its ${reader.left} bytes behind byte ${reader.at} hold at most ` +
      `${Math.floor(reader.left / least)} ${what}: current value is ${count}`,
  );
}

function readPairs(
  reader: GgufReader,
  options: { path: string; pairCount: number },
): Map<string, GgufValue> {
  const { path, pairCount } = options;
  const values = new Map<string, GgufValue>();
  for (let i = 0; i < pairCount; i++) {
    const key = reader.string(`the name of key ${i}`, MAX_KEY_BYTES);
    if (values.has(key)) {
      throw new FileError(
        `Cannot read ${path} as a key must stand once: ${describeValue(key)} stands twice`,
      );
    }
    values.set(key, readValue(reader, { key, path }));
  }
  return values;
}

function readValue(reader: GgufReader, context: { key: string; path: string }): GgufValue {
  const { key, path } = context;
  const what = `the value of ${describeValue(key)}`;
  const type = reader.uint32(`the type of ${describeValue(key)}`);
  const scalar = SCALARS.get(type);
  if (scalar !== undefined) return scalar.read(reader.view, reader.skip(scalar.bytes, what));
  if (type === BOOL) return reader.view.getUint8(reader.skip(1, what)) !== 0;
  if (type === STRING) {
    const { begin, end } = reader.skipString(what);
    return reader.text(begin, end, what);
  }
  if (type === ARRAY) return readArray(reader, { what, path });
  throw new FileError(
    `Cannot read ${path} as ${what} must be of a type from 0 to 12: current value is ${type}`,
  );
}

function readArray(reader: GgufReader, context: { what: string; path: string }): GgufArray {
  const { what, path } = context;
  const type = reader.uint32(`the type in ${what}`);
  const count = reader.uint64(`the length of ${what}`);
  const scalar = SCALARS.get(type) ??
    (type === BOOL
      ? { bytes: 1, read: (view: DataView, at: number) => view.getUint8(at) }
      : undefined);
  const refuse = (expected: string) => () => {
    throw new FileError(`Cannot read ${path} as ${what} must be an array of ${expected}`);
  };
  if (scalar !== undefined) {
    const begin = reader.skip(count * scalar.bytes, what);
    const numbers = () =>
      Array.from({ length: count }, (_, i) => scalar.read(reader.view, begin + i * scalar.bytes));
    return { count, numbers, strings: refuse("texts") };
  }
  if (type !== STRING) {
    throw new FileError(
      `Cannot read ${path} as ${what} must be an array of numbers or texts: ` +
        `current value is of type ${type}`,
    );
  }
  checkCount(count, { what: `items in ${what}`, least: 8, reader, path });
  const begin = reader.at;
  for (let i = 0; i < count; i++) reader.skipString(what);
  const strings = () => {
    const { at } = reader;
    reader.at = begin;
    const texts = Array.from({ length: count }, () => {
      const range = reader.skipString(what);
      return reader.text(range.begin, range.end, what);
    });
    reader.at = at;
    return texts;
  };
  return { count, strings, numbers: refuse("numbers") };
}

function readLines(
  reader: GgufReader,
  options: { path: string; tensorCount: number },
): GgufTensorLine[] {
  const { path, tensorCount } = options;
  const lines: GgufTensorLine[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const name = reader.string(`the name of tensor ${i}`, MAX_NAME_BYTES);
    const what = `tensor ${describeValue(name)}`;
    if (names.has(name)) {
      throw new FileError(`Cannot read ${path} as a tensor must stand once: ${what} stands twice`);
    }
    names.add(name);
    const rank = reader.uint32(`the rank of ${what}`);
    if (rank < 1 || rank > MAX_RANK) {
      throw new FileError(
        `Cannot read ${path} as the rank of ${what} must be from 1 to ${MAX_RANK}: ` +
          `current value is ${rank}`,
      );
    }
    const extents = Array.from({ length: rank }, () => reader.uint64(`the shape of ${what}`));
    if (extents.includes(0) || !extents.every(Number.isSafeInteger)) {
      throw new FileError(
        `Cannot read ${path} as the shape of ${what} must be made of whole numbers above 0: ` +
          `current value is ${describeValue(extents)}`,
      );
    }
    const type = reader.uint32(`the type of ${what}`);
    const offset = reader.uint64(`the offset of ${what}`);
    lines.push({ name, shape: extents.reverse(), type, offset });
  }
  return lines;
}

function readAlignment(metadata: GgufMetadata): number {
  const key = "general.alignment";
  const alignment = metadata.number(key) ?? DEFAULT_ALIGNMENT;
  if (Number.isInteger(Math.log2(alignment)) && alignment >= 1 && alignment <= MAX_ALIGNMENT) {
    return alignment;
  }
  throw metadata.refusal(key, `a power of two from 1 to ${MAX_ALIGNMENT}`);
}

/**
 * Checks types and places of all tensors: they lie in the order of their lines, each at the first
 * multiple of the alignment behind the one before, as ggml itself demands.
 *
 * @throws {FileError} If a type is not read, or a tensor lies elsewhere or beyond the file's end; the
 * message names the tensor, what was expected, and what was found.
 */
export function locateTensors(header: GgufHeader): GgufTensor[] {
  const { path, lines, alignment, dataBegin, fileBytes } = header;
  let expected = 0;
  return lines.map((line) => {
    const { name, shape, offset } = line;
    const what = `tensor ${describeValue(name)}`;
    const type = tensorType(line.type);
    if (type === undefined) {
      throw new FileError(
        `Cannot use ${path} as ${what} must be one of ${READ_TYPE_NAMES}: ` +
          `current value is ${typeName(line.type)}`,
      );
    }
    const { blockElements, blockBytes } = type;
    const row = shape.at(-1) ?? 0;
    if (blockElements > 1 && shape.length === 1) {
      throw new FileError(`Cannot use ${path} as ${what} is a vector: it must not be ${type.name}`);
    }
    if (row % blockElements !== 0) {
      throw new FileError(
        `Cannot read ${path} as the rows of ${what}, which is ${type.name}, must have a multiple ` +
          `of ${blockElements} elements: current value is ${row}`,
      );
    }
    if (offset !== expected) {
      throw new FileError(
        `Cannot read ${path} as ${what} must begin at byte ${expected} of the data, behind the ` +
          `tensor before it: current value is ${offset}`,
      );
    }
    const elements = shape.reduce((product, extent) => product * extent, 1);
    // A product beyond 2^53 is not exact, but then also larger than any file.
    const byteLength = elements / blockElements * blockBytes;
    const begin = dataBegin + offset;
    if (begin + byteLength > fileBytes) {
      throw new FileError(
        `Cannot read ${path} as ${what} needs ${byteLength} bytes at byte ${begin}: ` +
          `the file ends at byte ${fileBytes}`,
      );
    }
    expected = Math.ceil((offset + byteLength) / alignment) * alignment;
    return { name, shape, dtype: type.name, begin, end: begin + byteLength };
  });
}
