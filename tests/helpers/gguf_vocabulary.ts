/**
 * Vocabularies of GGUF files, made of a `tokenizer.json`.
 *
 * @module
 */
import { TOKEN_TYPES } from "../../lib/model/gguf/token_table.ts";
import type { GgufPair } from "../../scripts/gguf_file.ts";

/** Behind three special tokens and 256 bytes. */
const FIRST_PIECE = 259;

/**
 * The keys of a vocabulary: a `tokenizer.json` of byte-pair encoding over bytes as llama.cpp's
 * converter writes it.
 *
 * @param pre How texts are split, by llama.cpp's name.
 */
export function bytePairVocabulary(json: TokenizerJson, pre: string): GgufPair[] {
  const tokens = Object.entries(json.model.vocab);
  const added = json.added_tokens.filter(({ content }) => !(content in json.model.vocab));
  const all = [...tokens, ...added.map(({ content, id }) => [content, id] as const)];
  const texts: string[] = [];
  const types: number[] = [];
  for (const [text, id] of all) {
    texts[id] = text;
    types[id] = TOKEN_TYPES.normal;
  }
  for (const { id, special } of json.added_tokens) {
    types[id] = special ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined;
  }
  const idOf = (name: string) => json.added_tokens.find(({ content }) => content === name)?.id ?? 0;
  return [
    ["tokenizer.ggml.model", "text", "gpt2"],
    ["tokenizer.ggml.pre", "text", pre],
    ["tokenizer.ggml.tokens", "texts", texts],
    ["tokenizer.ggml.token_type", "i32s", types],
    [
      "tokenizer.ggml.merges",
      "texts",
      json.model.merges.map((merge) => typeof merge === "string" ? merge : merge.join(" ")),
    ],
    ["tokenizer.ggml.bos_token_id", "u32", idOf("<|begin_of_text|>")],
    ["tokenizer.ggml.eos_token_id", "u32", idOf("<|eot_id|>")],
  ];
}

/**
 * The keys of a vocabulary of SentencePiece: pieces whose scores are their ranks, runs of spaces the
 * last of all, as in Llama 2's and Mistral's.
 *
 * @param json A `tokenizer.json` that was made of such a vocabulary.
 */
export function sentencePieceVocabulary(json: TokenizerJson): GgufPair[] {
  const entries = Object.entries(json.model.vocab).sort((a, b) => a[1] - b[1]);
  const special = new Set(json.added_tokens.map(({ content }) => content));
  const typeOf = (text: string, id: number) => {
    if (id === 0) return TOKEN_TYPES.unknown;
    if (special.has(text)) return TOKEN_TYPES.control;
    return /^<0x[0-9A-F]{2}>$/.test(text) ? TOKEN_TYPES.byte : TOKEN_TYPES.normal;
  };
  const scoreOf = (text: string, id: number) =>
    /^\u2581{2,}$/.test(text) ? -1e9 : Math.min(0, FIRST_PIECE - id);
  return [
    ["tokenizer.ggml.model", "text", "llama"],
    ["tokenizer.ggml.pre", "text", "default"],
    ["tokenizer.ggml.tokens", "texts", entries.map(([text]) => text)],
    ["tokenizer.ggml.token_type", "i32s", entries.map(([text, id]) => typeOf(text, id))],
    ["tokenizer.ggml.scores", "f32s", entries.map(([text, id]) => scoreOf(text, id))],
    ["tokenizer.ggml.unknown_token_id", "u32", 0],
  ];
}

/** A `tokenizer.json`, as far as it is looked at. */
export interface TokenizerJson {
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly string[])[];
  };
  readonly added_tokens: readonly {
    readonly content: string;
    readonly id: number;
    readonly special: boolean;
  }[];
}
