/**
 * Tokens that stand for one byte each, as in Llama 2's and Mistral's vocabularies: `<0x0A>` is a line
 * feed. The library makes U+FFFD of every byte in a row of them if the row as a whole is no UTF-8:
 * a character that lacks its last byte would take the line feed before it away, and stop words, and
 * answers that are cut, would lose good text.
 *
 * @module
 */
import { isJsonObject } from "../text_file.ts";
import type { TokenizerFile } from "./tokenizer_file.ts";

const BYTE_TOKEN = /^<0x([0-9a-f]{2})>$/i;
/** U+FFFD in UTF-8. */
const REPLACEMENT = [0xef, 0xbf, 0xbd];

/** The byte that a token's name spells; undefined for another name. */
export function byteOfToken(name: string): number | undefined {
  const [, digits] = BYTE_TOKEN.exec(name) ?? [];
  return digits === undefined ? undefined : parseInt(digits, 16);
}

/** The tokens of bytes of one vocabulary. */
export class ByteTokens {
  readonly #bytes: ReadonlyMap<number, number>;
  readonly #replacement: readonly number[];

  private constructor(bytes: ReadonlyMap<number, number>, replacement: readonly number[]) {
    this.#bytes = bytes;
    this.#replacement = replacement;
  }

  /** @returns `undefined` unless the vocabulary's decoder joins tokens of bytes. */
  static of(file: Pick<TokenizerFile, "ids" | "settings">): ByteTokens | undefined {
    if (!joinsBytes(file.settings.decoder)) return undefined;
    const bytes = new Map<number, number>();
    const ids = new Map<number, number>();
    for (const [token, id] of file.ids) {
      const byte = byteOfToken(token);
      if (byte === undefined) continue;
      bytes.set(id, byte);
      ids.set(byte, id);
    }
    const replacement = REPLACEMENT.flatMap((byte) => ids.get(byte) ?? []);
    return replacement.length < REPLACEMENT.length ? undefined : new ByteTokens(bytes, replacement);
  }

  /**
   * Ids whose rows of bytes are UTF-8: U+FFFD stands for each byte that belongs to no character, and
   * all characters around it stay.
   *
   * @param ids As a model gives them.
   * @returns `ids` itself if all is well.
   */
  mend(ids: readonly number[]): readonly number[] {
    const mended: number[] = [];
    let isWhole = true;
    for (let at = 0; at < ids.length;) {
      const first = this.#byteAt(ids, at);
      const count = first === undefined ? 1 : this.#characterBytes(ids, at);
      if (count === 0) {
        mended.push(...this.#replacement);
        isWhole = false;
        at++;
      } else {
        mended.push(...ids.slice(at, at + count));
        at += count;
      }
    }
    return isWhole ? ids : mended;
  }

  /** How many tokens from `at` on are the bytes of one character; 0 if they are none. */
  #characterBytes(ids: readonly number[], at: number): number {
    const count = expectedBytes(this.#byteAt(ids, at) ?? 0);
    const bytes: number[] = [];
    for (let i = at; i < at + count; i++) {
      const byte = this.#byteAt(ids, i);
      if (byte === undefined) return 0;
      bytes.push(byte);
    }
    return isUtf8(Uint8Array.from(bytes)) ? count : 0;
  }

  #byteAt(ids: readonly number[], at: number): number | undefined {
    const id = ids[at];
    return id === undefined ? undefined : this.#bytes.get(id);
  }
}

/** The bytes of the character whose first byte this is. */
function expectedBytes(first: number): number {
  if (first < 0xc0) return 1;
  if (first < 0xe0) return 2;
  return first < 0xf0 ? 3 : 4;
}

const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function isUtf8(bytes: Uint8Array<ArrayBuffer>): boolean {
  try {
    STRICT.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function joinsBytes(decoder: unknown): boolean {
  if (!isJsonObject(decoder)) return false;
  if (decoder.type === "ByteFallback") return true;
  return Array.isArray(decoder.decoders) && decoder.decoders.some(joinsBytes);
}
