/**
 * `tokenizer.json`, in the format of Hugging Face's tokenizers: what is checked of it before the
 * library reads it, and what of it is switched off. A GGUF file's own tables are brought into this form.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { errorText, FileError } from "../errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";
import { readGgufTokenizer } from "./gguf/tokenizer.ts";
import { tokenizerPath } from "./model_paths.ts";

const CONFIG_FILE = "tokenizer_config.json";
/** Llama 3's has 9 MB, Gemma 3's 33 MB; from some 200 MB on the library runs out of memory. */
const MAX_BYTES = 64 * 2 ** 20;
const MAX_CONFIG_BYTES = 16 * 2 ** 20;
const MODEL_TYPES = ["BPE", "Unigram", "WordPiece", "WordLevel"];
/** Vocabularies in forms that only other programs read. */
const OTHER_FORMS = ["tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model"];

/** A `tokenizer.json` that was checked. */
export interface TokenizerFile {
  readonly path: string;
  /** For the library, as UTF-8 bytes of JSON. */
  readonly json: Uint8Array<ArrayBuffer>;
  /** All but the tables of the vocabulary and the merges, as the library gets it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Ids of the tokens by their names. */
  readonly ids: ReadonlyMap<string, number>;
  /** The tokens that are recognized before a text is split, with their ids. */
  readonly added: ReadonlyMap<string, number>;
  /** Ids of special tokens. */
  readonly special: ReadonlySet<number>;
  /** Whether decoding drops the spaces in front of punctuation, as English texts have none there. */
  readonly cleansSpaces: boolean;
}

/**
 * Reads and checks the tokenizer of a model.
 *
 * Switched off, as transformers does unless it is asked: truncation, padding, and the tokens that a
 * post-processor adds. Dropout (BPE) is for training: it would give a text other ids each time.
 *
 * @param model The model's folder, or a GGUF file.
 * @throws {FileError} If a file is missing or damaged.
 */
export async function readTokenizerFile(model: string): Promise<TokenizerFile> {
  const path = await tokenizerPath(model);
  if (path === model) return checkTokenizer(await readGgufTokenizer(path), path);
  const folder = dirname(path);
  await checkForm(folder, path);
  const values = await readJsonFile(path, { maxBytes: MAX_BYTES });
  const config = await readSettings(folder);
  return {
    ...checkTokenizer(withFurtherTokens(values, config), path),
    // transformers takes false where it is missing.
    cleansSpaces: config.clean_up_tokenization_spaces === true,
  };
}

function checkTokenizer(values: unknown, path: string): TokenizerFile {
  if (!isJsonObject(values)) {
    throw new FileError(
      `Cannot load ${path}: it must be an object, found ${describeValue(values)}`,
    );
  }
  const { model } = values;
  if (!isJsonObject(model)) {
    throw new FileError(
      `Cannot load ${path}: 'model' must be an object, found ${describeValue(model)}`,
    );
  }
  const ids = vocabularyOf(model, path);
  const { added, special } = addedTokensOf(values, path);
  for (const [token, id] of added) ids.set(token, id);
  const off = { truncation: null, padding: null, post_processor: null };
  const steady: Record<string, unknown> = { ...model };
  if ("dropout" in steady) steady.dropout = null;
  const { vocab: _vocab, merges: _merges, ...settings } = steady;
  return {
    path,
    json: encodeJson({ ...values, ...off, model: steady }, path),
    settings: { ...values, ...off, model: settings },
    ids,
    added,
    special,
    cleansSpaces: false,
  };
}

/** Says how to convert a vocabulary of another form, where it lies alone. */
async function checkForm(folder: string, path: string): Promise<void> {
  if (await exists(path)) return;
  for (const name of OTHER_FORMS) {
    if (!(await exists(join(folder, name)))) continue;
    throw new FileError(
      `Cannot load ${path} as the tokenizer must be in this form: found ${name} alone ` +
        "(transformers converts it in Python: " +
        `AutoTokenizer.from_pretrained("${folder}").save_pretrained("${folder}"))`,
    );
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, (error) => {
    // Whatever else is wrong with it shows when it is read.
    return !(error instanceof Deno.errors.NotFound);
  });
}

/** The model's vocabulary; checks what the library would abort on. */
function vocabularyOf(model: Record<string, unknown>, path: string): Map<string, number> {
  const { type, vocab, merges } = model;
  // Old files have no type: the library finds out by the other keys.
  if (type !== undefined && !MODEL_TYPES.some((name) => name === type)) {
    throw new FileError(
      `Cannot load ${path}: 'model.type' must be one of ${MODEL_TYPES.join(", ")}, found ${
        describeValue(type)
      }`,
    );
  }
  const isScored = Array.isArray(vocab) && (type === undefined || type === "Unigram");
  const isNumbered = isJsonObject(vocab) && type !== "Unigram";
  if (!isScored && !isNumbered) {
    const form = type === "Unigram" ? "an array" : "an object";
    throw new FileError(
      `Cannot load ${path}: 'model.vocab' must be ${form}, found ${describeValue(vocab)}`,
    );
  }
  if (type === "BPE" && !Array.isArray(merges)) {
    throw new FileError(
      `Cannot load ${path}: 'model.merges' must be an array, found ${describeValue(merges)}`,
    );
  }
  const ids = new Map<string, number>();
  if (Array.isArray(vocab)) {
    for (const [id, entry] of vocab.entries()) {
      const [token, score]: unknown[] = Array.isArray(entry) ? entry : [];
      if (typeof token !== "string" || typeof score !== "number") {
        throw new FileError(
          `Cannot load ${path}: 'model.vocab' must hold pairs of token and score, found ${
            describeValue(entry)
          }`,
        );
      }
      ids.set(token, id);
    }
  } else {
    for (const [token, id] of Object.entries(vocab)) ids.set(token, checkId(id, { token, path }));
  }
  return ids;
}

function addedTokensOf(
  values: Record<string, unknown>,
  path: string,
): Pick<TokenizerFile, "added" | "special"> {
  const added = new Map<string, number>();
  const special = new Set<number>();
  const { added_tokens: entries = [] } = values;
  for (const entry of Array.isArray(entries) ? entries : []) {
    if (!isJsonObject(entry) || typeof entry.content !== "string") {
      throw new FileError(
        `Cannot load ${path}: 'added_tokens' must hold objects with 'content', found ${
          describeValue(entry)
        }`,
      );
    }
    const id = checkId(entry.id, { token: entry.content, path });
    added.set(entry.content, id);
    if (entry.special === true) special.add(id);
  }
  return { added, special };
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

function encodeJson(values: unknown, path: string): Uint8Array<ArrayBuffer> {
  try {
    return new TextEncoder().encode(JSON.stringify(values));
  } catch (error) {
    // Brackets in brackets, thousands deep.
    throw new FileError(`Cannot load ${path}: it cannot be written again (${errorText(error)})`, {
      cause: error,
    });
  }
}

/** `tokenizer_config.json`; nothing if there is none. */
async function readSettings(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const path = join(folder, CONFIG_FILE);
  if (!(await exists(path))) return {};
  const values = await readJsonFile(path, { maxBytes: MAX_CONFIG_BYTES });
  return isJsonObject(values) ? values : {};
}

/**
 * What of `tokenizer_config.json` changes ids or texts, as JSON: for digests.
 *
 * @param folder The model's folder.
 * @returns Undefined if nothing does.
 * @throws {FileError} If a file is missing or damaged.
 */
export async function heardSettings(folder: string): Promise<string | undefined> {
  const settings = await readSettings(folder);
  const { clean_up_tokenization_spaces: cleans, added_tokens_decoder: tokens } = settings;
  const values = tokens === undefined
    ? undefined
    : await readJsonFile(await tokenizerPath(folder), { maxBytes: MAX_BYTES });
  const further = furtherTokens(values, tokens);
  return cleans === true || further.length > 0 ? JSON.stringify({ cleans, further }) : undefined;
}

/** The tokenizer with the further tokens of its configuration. */
function withFurtherTokens(values: unknown, config: Readonly<Record<string, unknown>>): unknown {
  const further = furtherTokens(values, config.added_tokens_decoder);
  if (further.length === 0 || !isJsonObject(values)) return values;
  const { added_tokens: own } = values;
  return { ...values, added_tokens: [...Array.isArray(own) ? own : [], ...further] };
}

/**
 * The tokens of `added_tokens_decoder` that a tokenizer lacks: transformers adds them when it loads, so
 * that a text may have them as single ids.
 */
function furtherTokens(values: unknown, tokens: unknown): readonly object[] {
  if (!isJsonObject(values) || !isJsonObject(tokens) || !isJsonObject(values.model)) return [];
  const { added_tokens: own, model: { vocab } } = values;
  const names = Array.isArray(vocab) ? vocab.map((entry) => entry?.[0]) : Object.keys(vocab ?? {});
  const known = new Set<unknown>(names);
  for (const token of Array.isArray(own) ? own : []) known.add(token?.content);
  const further = Object.entries(tokens).flatMap(([id, token]) => {
    if (!isJsonObject(token) || typeof token.content !== "string") return [];
    if (token.content === "" || known.has(token.content)) return [];
    return [{ ...NO_FLAGS, normalized: token.special !== true, ...token, id: Number(id) }];
  });
  return further.sort((a, b) => a.id - b.id);
}

/** What transformers takes for a token that says nothing else. */
const NO_FLAGS = {
  single_word: false,
  lstrip: false,
  rstrip: false,
  special: false,
} as const;
