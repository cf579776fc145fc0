/**
 * A model's tokenizer, from the `tokenizer.json` in its folder or from its GGUF file.
 *
 * @module
 */
import {
  loadWasmTokenizers,
  takeComplaint,
  type WasmTokenizer,
  wasmTokenizer,
} from "../deps/tokenizers.ts";
import { DeviceError, errorText, FileError, RequestError } from "../errors.ts";
import { ByteTokens } from "./byte_tokens.ts";
import { knownSplit, lastCut } from "./text_cuts.ts";
import { readTokenizerFile, type TokenizerFile } from "./tokenizer_file.ts";

/**
 * Bytes of text that the library gets at once. With 1.6 GB of the 2 GB that WebAssembly gives it, it
 * takes 8 MiB whose every byte is a token; with more it aborts, and cannot be used any more.
 */
const MAX_PIECE_BYTES = 6 * 2 ** 20;
/** Code units of a piece of a text that can be cut. */
const PIECE_LENGTH = 2 ** 18;
/** UTF-8 bytes of a UTF-16 code unit, at most. */
const MAX_BYTES_PER_UNIT = 3;

/** Text to ids and back. */
export interface Tokenizer extends Disposable {
  /** How many different ids there are. */
  readonly vocabularySize: number;
  /** What `tokenizer.json` holds besides the tables of the vocabulary and the merges. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * Ids of a text: no special tokens are added, those in the text are recognized. Halves of surrogate
   * pairs count as U+FFFD.
   *
   * @throws {RequestError} If the text is too long for the library.
   */
  encode(text: string): Int32Array;
  /**
   * The text of some ids, special tokens included unless they are skipped. A character that lacks
   * bytes is U+FFFD and changes no other.
   */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** How many ids `encode()` gives. */
  count(text: string): number;
  /** The id of a token by its name, for example `<|eot_id|>`. */
  tokenToId(token: string): number | undefined;
}

/**
 * A tokenizer that may be at work in another thread: {@linkcode Tokenizer} is one as well.
 */
export interface TextTokenizer {
  /** As {@linkcode Tokenizer.encode}. */
  encode(text: string): Int32Array | Promise<Int32Array>;
  /** As {@linkcode Tokenizer.decode}. */
  decode(
    ids: readonly number[],
    options?: { skipSpecialTokens?: boolean },
  ): string | Promise<string>;
  /** As {@linkcode Tokenizer.count}. */
  count(text: string): number | Promise<number>;
}

/**
 * Loads a tokenizer.
 *
 * @param folder Holds `tokenizer.json`, in the format of Hugging Face's tokenizers: BPE, Unigram,
 * WordPiece or WordLevel; `tokenizer_config.json` beside it may say how texts are decoded. Or a GGUF
 * file, whose own tables are taken where no `tokenizer.json` lies beside it.
 * @throws {FileError} If the file is missing, damaged, or gives an added token another id than the
 * library does.
 * @throws {DeviceError} If the library itself cannot be had, or broke before.
 * @example
 * ```ts
 * import { loadTokenizer } from "@starx/starx";
 * import { equal } from "node:assert/strict";
 * using tokenizer = await loadTokenizer("models/starx-tiny");
 * equal(tokenizer.decode([...tokenizer.encode("The sky is blue.")]), "The sky is blue.");
 * ```
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const file = await readTokenizerFile(folder);
  await loadWasmTokenizers();
  let wasm: WasmTokenizer;
  try {
    wasm = await wasmTokenizer(file.json.buffer);
  } catch (error) {
    if (error instanceof DeviceError) throw error;
    const reason = takeComplaint() ?? errorText(error);
    throw new FileError(`Cannot load ${file.path}: the tokenizer refuses it (${reason})`, {
      cause: error,
    });
  }
  try {
    checkAddedTokens(wasm, file);
  } catch (error) {
    wasm.dispose();
    throw error;
  }
  return new FileTokenizer(wasm, file);
}

/**
 * The library numbers added tokens anew that do not follow on the vocabulary, in silence: a model
 * would get other ids than those that it was trained with.
 */
function checkAddedTokens(wasm: WasmTokenizer, file: TokenizerFile): void {
  for (const [token, id] of file.added) {
    if (token === "" || wasm.idToToken(id) === token) continue;
    const found = wasm.encode(token);
    const other = found.length === 1 ? `${found[0]}` : "none";
    throw new FileError(
      `Cannot load ${file.path} as the added token ${
        JSON.stringify(token)
      } must have the id that ` +
        `the library gives it, which is ${other}: current value is ${id}`,
    );
  }
}

class FileTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly #wasm: WasmTokenizer;
  readonly #file: TokenizerFile;
  /** Whether a long text can be given to the library in pieces. */
  readonly #isCuttable: boolean;
  readonly #byteTokens: ByteTokens | undefined;
  #disposed = false;
  /** After a trap the library's memory is in no known state. */
  #isBroken = false;

  constructor(wasm: WasmTokenizer, file: TokenizerFile) {
    this.#wasm = wasm;
    this.#file = file;
    this.vocabularySize = wasm.getVocabSize();
    this.settings = file.settings;
    this.#isCuttable = knownSplit(file.settings) !== undefined;
    this.#byteTokens = ByteTokens.of(file);
  }

  encode(text: string): Int32Array {
    this.#check();
    if (text === "") return new Int32Array(0);
    const pieces = this.#pieces(text.toWellFormed());
    return joined(pieces.map((piece) => this.#encodePiece(piece)));
  }

  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean } = {}): string {
    this.#check();
    const skip = options.skipSpecialTokens === true;
    const kept = skip ? ids.filter((id) => !this.#file.special.has(id)) : ids;
    if (kept.length === 0) return "";
    const mended = Int32Array.from(this.#byteTokens?.mend(kept) ?? kept);
    const text = this.#guard("decode", () => this.#wasm.decode(mended));
    return this.#file.cleansSpaces ? withoutSpaces(text) : text;
  }

  count(text: string): number {
    return this.encode(text).length;
  }

  tokenToId(token: string): number | undefined {
    return this.#file.ids.get(token);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#wasm.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new TypeError("Cannot use a tokenizer that is disposed");
    if (this.#isBroken) {
      throw new FileError(
        `Cannot use ${this.#file.path} any more as the tokenizers' library broke on an earlier text`,
      );
    }
  }

  #encodePiece(text: string): Int32Array {
    return this.#guard("encode", () => Int32Array.from(this.#wasm.encode(text)));
  }

  #pieces(text: string): string[] {
    if (!this.#isCuttable) return [withinLimit(text)];
    const pieces: string[] = [];
    let start = 0;
    while (text.length - start > PIECE_LENGTH) {
      const cut = lastCut(text, { start, end: start + PIECE_LENGTH }) ??
        nextCut(text, start + PIECE_LENGTH);
      pieces.push(withinLimit(text.slice(start, cut)));
      start = cut;
    }
    if (start < text.length) pieces.push(withinLimit(text.slice(start)));
    return pieces;
  }

  /** The library ends with a WebAssembly trap on tables that contradict each other. */
  #guard<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      this.#isBroken = true;
      const reason = takeComplaint() ?? errorText(error);
      throw new FileError(
        `Cannot ${what} with ${this.#file.path}: its tables do not fit together (${reason})`,
        { cause: error },
      );
    }
  }
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const [first] = parts;
  if (first !== undefined && parts.length === 1) return first;
  const all = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The first cut behind `from`; the text's end if there is none. */
function nextCut(text: string, from: number): number {
  // One cut in so many code units is the rule: what is longer is looked at piece by piece.
  for (let start = from; start < text.length; start += PIECE_LENGTH) {
    const end = Math.min(start + PIECE_LENGTH, text.length - 1);
    for (let at = start + 1; at <= end; at++) {
      if (lastCut(text, { start: at - 1, end: at }) !== undefined) return at;
    }
  }
  return text.length;
}

/** @throws {RequestError} If a text is too long for the library. */
function withinLimit(text: string): string {
  if (text.length * MAX_BYTES_PER_UNIT <= MAX_PIECE_BYTES) return text;
  const { length: bytes } = new TextEncoder().encode(text);
  if (bytes <= MAX_PIECE_BYTES) return text;
  throw new RequestError(
    `Cannot tokenize a text as it must have at most ${MAX_PIECE_BYTES} bytes that cannot be cut ` +
      `between words: current value is ${bytes}`,
  );
}

/** As `clean_up_tokenization` of transformers: one after the other, not all at once. */
function withoutSpaces(text: string): string {
  let clean = text;
  for (const mark of [".", "?", "!", ","]) clean = clean.replaceAll(` ${mark}`, mark);
  clean = clean.replaceAll(" ' ", "'");
  for (const end of ["n't", "'m", "'s", "'ve", "'re"]) clean = clean.replaceAll(` ${end}`, end);
  return clean;
}
