/**
 * Reads zip archives, as much of the format as archives of data files use: members that are stored
 * or deflated, found by the central directory (APPNOTE.TXT 6.3.10, sections 4.3 and 4.4).
 *
 * @module
 */
import { crc32, inflateRawSync } from "node:zlib";
import { errorText, FileError } from "../../lib/errors.ts";

/** What to take of an archive. */
export interface ZipOptions {
  /** The archive's name, for messages. */
  readonly label: string;
  /** Names of the members to take. */
  readonly wanted: ReadonlySet<string>;
  /** A larger member is refused before it is unpacked. */
  readonly maxMemberBytes: number;
}

const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
/** A comment behind the end may have as many. */
const MAX_COMMENT_BYTES = 0xffff;
const STORED = 0;
const DEFLATED = 8;

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly offset: number;
}

/**
 * Unpacks members of an archive.
 *
 * @param content The whole archive.
 * @param options Which members.
 * @returns Their content by their names; those that the archive lacks are missing.
 * @throws {FileError} If it is damaged, or a wanted member is too large or packed in another way.
 */
export function readZip(content: Uint8Array, options: ZipOptions): Map<string, Uint8Array> {
  const members = new Map<string, Uint8Array>();
  try {
    for (const entry of entriesOf(content)) {
      if (options.wanted.has(entry.name)) members.set(entry.name, unpack(content, entry, options));
    }
  } catch (error) {
    // Offsets beyond the end show as a RangeError of the view.
    if (!(error instanceof RangeError)) throw error;
    throw damaged(options, errorText(error));
  }
  return members;

  function* entriesOf(bytes: Uint8Array): Generator<Entry> {
    const view = viewOf(bytes);
    const end = findEnd(view);
    if (end === undefined) throw damaged(options, "it has no central directory");
    const count = view.getUint16(end + 10, true);
    let at = view.getUint32(end + 16, true);
    for (let i = 0; i < count; i++) {
      if (view.getUint32(at, true) !== ENTRY_SIGNATURE) {
        throw damaged(options, `there is no entry at byte ${at}`);
      }
      const nameBytes = view.getUint16(at + 28, true);
      const restBytes = view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
      yield {
        name: new TextDecoder().decode(
          bytes.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + nameBytes),
        ),
        method: view.getUint16(at + 10, true),
        crc: view.getUint32(at + 16, true),
        packedBytes: view.getUint32(at + 20, true),
        bytes: view.getUint32(at + 24, true),
        offset: view.getUint32(at + 42, true),
      };
      at += ENTRY_BYTES + nameBytes + restBytes;
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Where the end of the central directory begins; undefined if there is none. */
function findEnd(view: DataView): number | undefined {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT_BYTES); at--) {
    if (view.getUint32(at, true) === END_SIGNATURE) return at;
  }
  return undefined;
}

function unpack(content: Uint8Array, entry: Entry, options: ZipOptions): Uint8Array {
  const { name, method, crc, packedBytes, bytes, offset } = entry;
  if (bytes > options.maxMemberBytes) {
    throw damaged(
      options,
      `${name} may have at most ${options.maxMemberBytes} bytes: current value is ${bytes}`,
    );
  }
  const view = viewOf(content);
  if (view.getUint32(offset, true) !== LOCAL_SIGNATURE) {
    throw damaged(options, `there is no member at byte ${offset}`);
  }
  const start = offset + LOCAL_BYTES + view.getUint16(offset + 26, true) +
    view.getUint16(offset + 28, true);
  const packed = content.subarray(start, start + packedBytes);
  const unpacked = method === STORED
    ? packed
    : method === DEFLATED
    ? inflate(packed, { entry, options })
    : undefined;
  if (unpacked === undefined) throw damaged(options, `${name} is packed by method ${method}`);
  if (unpacked.length !== bytes || crc32(unpacked) !== crc) {
    throw damaged(options, `${name} is not what its entry says`);
  }
  return unpacked;
}

/** Never more than the entry says: a bomb says little. */
function inflate(
  packed: Uint8Array,
  context: { entry: Entry; options: ZipOptions },
): Uint8Array {
  const { entry, options } = context;
  try {
    return new Uint8Array(inflateRawSync(packed, { maxOutputLength: Math.max(1, entry.bytes) }));
  } catch (error) {
    throw damaged(options, `${entry.name}: ${errorText(error)}`);
  }
}

function damaged(options: ZipOptions, reason: string): FileError {
  return new FileError(`Cannot unpack ${options.label}: ${reason}`);
}
