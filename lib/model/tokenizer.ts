/**
 * A model's tokenizer, from the `tokenizer.json` in its folder.
 *
 * @module
 */
import { join } from "node:path";
import { takeComplaint, type WasmTokenizer, wasmTokenizer } from "../deps/tokenizers.ts";
import { errorText, FileError } from "../errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";

const TOKENIZER_FILE = "tokenizer.json";
/** Llama 3's has 9 MB. */
const MAX_BYTES = 256 * 2 ** 20;

/** Text to ids and back. */
export interface Tokenizer extends Disposable {
  /** How many different ids there are. */
  readonly vocabularySize: number;
  /** What `tokenizer.json` holds besides the tables of the vocabulary and the merges. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Ids of a text: no special tokens are added, those in the text are recognized. */
  encode(text: string): Int32Array;
  /** The text of some ids, special tokens included unless they are skipped. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** How many ids `encode()` gives. */
  count(text: string): number;
  /** The id of a token by its name, for example `<|eot_id|>`. */
  tokenToId(token: string): number | undefined;
}

/**
 * Loads a tokenizer.
 *
 * @param folder Holds `tokenizer.json`, in the format of Hugging Face's tokenizers.
 * @throws {FileError} If the file is missing, damaged or of another kind than byte-level BPE.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const path = join(folder, TOKENIZER_FILE);
  const values = await readJsonFile(path, { maxBytes: MAX_BYTES });
  const checked = checkTokenizer(values, path);
  // A post-processor would add a beginning-of-text token, and decoding needs none.
  const { post_processor: _, ...rest } = checked.values;
  const json = new TextEncoder().encode(JSON.stringify({ ...rest, post_processor: null }));
  try {
    return new FileTokenizer(await wasmTokenizer(json.buffer), checked);
  } catch (error) {
    const reason = takeComplaint() ?? errorText(error);
    throw new FileError(`Cannot load ${path}: the tokenizer refuses it (${reason})`, {
      cause: error,
    });
  }
}

/** What is read of the file here; the rest is the library's. */
interface CheckedTokenizer {
  readonly path: string;
  readonly values: Record<string, unknown>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly ids: ReadonlyMap<string, number>;
  readonly special: ReadonlySet<number>;
}

/** Checks what the library would abort on. */
function checkTokenizer(values: unknown, path: string): CheckedTokenizer {
  if (!isJsonObject(values)) {
    throw new FileError(
      `Cannot load ${path}: it must be an object, found ${describeValue(values)}`,
    );
  }
  const { model, added_tokens: added = [] } = values;
  if (!isJsonObject(model) || model.type !== "BPE") {
    const type = isJsonObject(model) ? model.type : model;
    throw new FileError(
      `Cannot load ${path}: 'model.type' must be "BPE", found ${describeValue(type)}`,
    );
  }
  const { vocab, merges } = model;
  if (!isJsonObject(vocab)) {
    throw new FileError(
      `Cannot load ${path}: 'model.vocab' must be an object, found ${describeValue(vocab)}`,
    );
  }
  if (!Array.isArray(merges)) {
    throw new FileError(
      `Cannot load ${path}: 'model.merges' must be an array, found ${describeValue(merges)}`,
    );
  }
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(vocab)) ids.set(token, checkId(id, { token, path }));
  const special = new Set<number>();
  for (const entry of Array.isArray(added) ? added : []) {
    if (!isJsonObject(entry) || typeof entry.content !== "string") {
      throw new FileError(
        `Cannot load ${path}: 'added_tokens' must hold objects with 'content', found ${
          describeValue(entry)
        }`,
      );
    }
    const id = checkId(entry.id, { token: entry.content, path });
    ids.set(entry.content, id);
    if (entry.special === true) special.add(id);
  }
  const { vocab: _vocab, merges: _merges, ...modelSettings } = model;
  return { path, values, settings: { ...values, model: modelSettings }, ids, special };
}

function checkId(id: unknown, options: { token: string; path: string }): number {
  const { token, path } = options;
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 31) {
    throw new FileError(
      `Cannot load ${path}: the id of token ${JSON.stringify(token)} must be a whole number ` +
        `below 2^31, found ${describeValue(id)}`,
    );
  }
  return id;
}

class FileTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly #wasm: WasmTokenizer;
  readonly #checked: CheckedTokenizer;
  #disposed = false;

  constructor(wasm: WasmTokenizer, checked: CheckedTokenizer) {
    this.#wasm = wasm;
    this.#checked = checked;
    this.vocabularySize = wasm.getVocabSize();
    this.settings = checked.settings;
  }

  encode(text: string): Int32Array {
    this.#check();
    if (text === "") return new Int32Array(0);
    return this.#guard("encode", () => Int32Array.from(this.#wasm.encode(text)));
  }

  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean } = {}): string {
    this.#check();
    const skip = options.skipSpecialTokens === true;
    const kept = skip ? ids.filter((id) => !this.#checked.special.has(id)) : ids;
    if (kept.length === 0) return "";
    return this.#guard("decode", () => this.#wasm.decode(Int32Array.from(kept)));
  }

  count(text: string): number {
    return this.encode(text).length;
  }

  tokenToId(token: string): number | undefined {
    return this.#checked.ids.get(token);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#wasm.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new TypeError("Cannot use a tokenizer that is disposed");
  }

  /** The library ends with a WebAssembly trap on tables that contradict each other. */
  #guard<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      const reason = takeComplaint() ?? errorText(error);
      throw new FileError(
        `Cannot ${what} with ${this.#checked.path}: its tables do not fit together (${reason})`,
        { cause: error },
      );
    }
  }
}
