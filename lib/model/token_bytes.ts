/**
 * The bytes that a token stands for, where they are no whole characters: no text tells them.
 *
 * @module
 */
import { isJsonObject } from "../text_file.ts";
import { byteOfToken } from "./byte_tokens.ts";
import type { TokenizerFile } from "./tokenizer_file.ts";

/** The bytes of tokens of one vocabulary. */
export class TokenBytes {
  readonly #names: ReadonlyMap<number, string>;
  readonly #added: ReadonlySet<number>;
  readonly #bytesOfName: (name: string) => readonly number[] | undefined;

  /** @param file As `readTokenizerFile()` gives it. */
  constructor({ ids, added, settings }: Pick<TokenizerFile, "ids" | "added" | "settings">) {
    this.#names = new Map([...ids].map(([name, id]) => [id, name]));
    this.#added = new Set(added.values());
    this.#bytesOfName = hasStep(settings.decoder, "ByteLevel") ? ofCharacters : ofByteToken;
  }

  /**
   * The bytes of a token whose name spells bytes.
   *
   * @returns `undefined` for one that is a text, or is not there.
   */
  bytesOf(id: number): readonly number[] | undefined {
    const name = this.#names.get(id);
    return name === undefined || this.#added.has(id) ? undefined : this.#bytesOfName(name);
  }
}

function ofByteToken(name: string): readonly number[] | undefined {
  const byte = byteOfToken(name);
  return byte === undefined ? undefined : [byte];
}

/**
 * The byte that each character of a name stands for in vocabularies of bytes, as GPT-2's: a visible one
 * of Latin-1 is its own, the others are U+0100 and those behind it, in order.
 */
const BYTES = new Map<string, number>();
for (let byte = 0, others = 0; byte < 256; byte++) {
  const isVisible = byte > 0x20 && byte < 0x7f || byte > 0xa0 && byte !== 0xad;
  BYTES.set(String.fromCharCode(isVisible ? byte : 0x100 + others++), byte);
}

function ofCharacters(name: string): readonly number[] | undefined {
  const bytes = [...name].map((character) => BYTES.get(character));
  return bytes.every((byte) => byte !== undefined) ? bytes : undefined;
}

/** Whether a decoder is of a type, or has a step that is. */
function hasStep(decoder: unknown, type: string): boolean {
  if (!isJsonObject(decoder)) return false;
  const { decoders } = decoder;
  return decoder.type === type ||
    Array.isArray(decoders) && decoders.some((step) => hasStep(step, type));
}
