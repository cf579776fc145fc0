/**
 * Reads the numbers and strings of a GGUF file one after the other, never beyond its end.
 *
 * @module
 */
import { FileError } from "../../errors.ts";

/** Thrown inside this folder: the file has more bytes than were read of it so far. */
export class MoreBytesNeeded extends Error {
  override readonly name = "MoreBytesNeeded";
}

const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const TWO_32 = 2 ** 32;

/** A place in a file, moved by every read. */
export class GgufReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: string;
  readonly #fileBytes: number;
  /** The next byte, counted from the file's start. */
  at = 0;

  /** @param bytes The file's first bytes. @param options `fileBytes`: how many it has in all. */
  constructor(bytes: Uint8Array, options: { path: string; fileBytes: number }) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#path = options.path;
    this.#fileBytes = options.fileBytes;
  }

  /** Bytes between here and the file's end. */
  get left(): number {
    return this.#fileBytes - this.at;
  }

  /**
   * Moves over some bytes.
   *
   * @param what They stand for, in messages.
   * @returns Where they begin.
   * @throws {FileError} If the file ends before.
   */
  skip(byteLength: number, what: string): number {
    const { at } = this;
    if (byteLength > this.left) {
      throw new FileError(
        `Cannot read ${this.#path} as ${what} needs ${byteLength} bytes at byte ${at}: ` +
          `the file ends at byte ${this.#fileBytes}`,
      );
    }
    if (at + byteLength > this.#bytes.byteLength) throw new MoreBytesNeeded();
    this.at += byteLength;
    return at;
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.skip(4, what), true);
  }

  /** A number of 8 bytes; those above 2^53 are not exact, and larger than any file. */
  uint64(what: string): number {
    const at = this.skip(8, what);
    return this.#view.getUint32(at, true) + TWO_32 * this.#view.getUint32(at + 4, true);
  }

  /** Moves over a string. @returns Its bytes' range. @throws {FileError} If it is too long. */
  skipString(what: string): { begin: number; end: number } {
    const length = this.uint64(`the length of ${what}`);
    const begin = this.skip(length, what);
    return { begin, end: begin + length };
  }

  /** @throws {FileError} If it is not UTF-8, or longer than the file or `maxBytes`. */
  string(what: string, maxBytes: number): string {
    const { begin, end } = this.skipString(what);
    if (end - begin > maxBytes) {
      throw new FileError(
        `Cannot read ${this.#path} as ${what} may have at most ${maxBytes} bytes: ` +
          `current value is ${end - begin}`,
      );
    }
    return this.text(begin, end, what);
  }

  /** The text of a range that was moved over. @throws {FileError} If it is not UTF-8. */
  text(begin: number, end: number, what: string): string {
    try {
      return STRICT.decode(this.#bytes.subarray(begin, end));
    } catch (error) {
      throw new FileError(`Cannot read ${this.#path} as ${what} is not UTF-8 text`, {
        cause: error,
      });
    }
  }

  /** All bytes that were read of the file, as numbers. */
  get view(): DataView {
    return this.#view;
  }
}
