/**
 * A GGUF file's own tables of tokens as a `tokenizer.json`.
 *
 * Keys follow ggml's `docs/gguf.md`. Byte-pair encoding over bytes (`gpt2`) has its merges in the
 * file; SentencePiece's (`llama`) has scores, see `sentencepiece.ts`.
 *
 * @module
 */
import { FileError } from "../../errors.ts";
import { describeValue } from "../../text_file.ts";
import { readGgufHeader } from "./files.ts";
import type { GgufMetadata } from "./metadata.ts";
import { PRE_TOKENIZER_NAMES, preTokenizerNamed } from "./pre_tokenizers.ts";
import { sentencePieceParts } from "./sentencepiece.ts";
import { refuseTables, TOKEN_TYPES, type TokenTable } from "./token_table.ts";

const PREFIX = "tokenizer.ggml";

/**
 * Makes a `tokenizer.json` of a file's tables.
 *
 * @param path The GGUF file.
 * @returns What the JSON would hold.
 * @throws {FileError} If there are no tables, or of a kind or with a name that is not known; the
 * message says what to do.
 */
export async function readGgufTokenizer(path: string): Promise<Record<string, unknown>> {
  const { metadata } = await readGgufHeader(path);
  const model = metadata.text(`${PREFIX}.model`);
  const table = readTable(metadata);
  const common = { version: "1.0", truncation: null, padding: null, post_processor: null };
  if (model === "gpt2") return { ...common, ...bytePairParts(metadata, table) };
  if (model === "llama") return { ...common, ...sentencePieceParts(metadata, table) };
  const found = model === undefined ? "missing" : describeValue(model);
  throw refuseTables(
    path,
    `'${PREFIX}.model' must be "gpt2" or "llama": current value is ${found}`,
  );
}

function readTable(metadata: GgufMetadata): TokenTable {
  const { path } = metadata;
  const texts = metadata.array(`${PREFIX}.tokens`)?.strings() ?? [];
  if (texts.length === 0) throw refuseTables(path, `it has no '${PREFIX}.tokens'`);
  const types = metadata.array(`${PREFIX}.token_type`)?.numbers() ??
    texts.map(() => TOKEN_TYPES.normal);
  if (types.length !== texts.length) {
    throw new FileError(
      `Cannot load the tokenizer of ${path} as '${PREFIX}.token_type' must have ${texts.length} ` +
        `items as '${PREFIX}.tokens' has: current value is ${types.length}`,
    );
  }
  const ids = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    if (types[id] === TOKEN_TYPES.unused) continue;
    const other = ids.get(text);
    if (other !== undefined) {
      throw refuseTables(path, `token ${describeValue(text)} has the ids ${other} and ${id}`);
    }
    ids.set(text, id);
  }
  return { path, texts, types, ids };
}

function bytePairParts(metadata: GgufMetadata, table: TokenTable): Record<string, unknown> {
  const { path } = table;
  const key = `${PREFIX}.pre`;
  const name = metadata.text(key);
  const pre = name === undefined ? undefined : preTokenizerNamed(name);
  if (pre === undefined) {
    const found = name === undefined ? "missing" : describeValue(name);
    throw refuseTables(
      path,
      `'${key}' must be one of ${PRE_TOKENIZER_NAMES}: current value is ${found}`,
    );
  }
  const merges = metadata.array(`${PREFIX}.merges`)?.strings();
  if (merges === undefined) throw refuseTables(path, `it has no '${PREFIX}.merges'`);
  return {
    normalizer: pre.normalizer,
    pre_tokenizer: pre.preTokenizer,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    added_tokens: addedTokens(table),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoresMerges,
      vocab: Object.fromEntries(table.ids),
      merges,
    },
  };
}

/** The tokens that are recognized before a text is split. */
function addedTokens({ ids, types }: TokenTable): unknown[] {
  return [...ids].flatMap(([content, id]) => {
    const type = types[id];
    if (type !== TOKEN_TYPES.control && type !== TOKEN_TYPES.userDefined) return [];
    return [{
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: type === TOKEN_TYPES.control,
    }];
  });
}
