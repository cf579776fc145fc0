/**
 * Small random models of all architectures in GGUF form, and what llama.cpp computes from them.
 *
 * @module
 */
import { makeModel } from "../../scripts/make_model.ts";
import { writeGguf } from "../../scripts/gguf.ts";
import type { GgufPair, TensorType } from "../../scripts/gguf_file.ts";
import { TOKEN_TYPES } from "../../lib/model/gguf/token_table.ts";

const SIZES = {
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 97,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  tie_word_embeddings: false,
};
const LLAMA3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
};
const LONG = {
  rope_type: "longrope",
  short_factor: [1, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07],
  long_factor: [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5],
};

/** Configurations by name. */
export const GGUF_CONFIGS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: { ...SIZES, architectures: ["LlamaForCausalLM"], head_dim: 32, rope_scaling: LLAMA3 },
  "llama with biases": {
    ...SIZES,
    architectures: ["LlamaForCausalLM"],
    attention_bias: true,
    mlp_bias: true,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 128 },
  },
  qwen2: {
    ...SIZES,
    architectures: ["Qwen2ForCausalLM"],
    rope_scaling: { rope_type: "linear", factor: 4 },
  },
  qwen3: {
    ...SIZES,
    architectures: ["Qwen3ForCausalLM"],
    head_dim: 64,
    tie_word_embeddings: true,
  },
  phi3: {
    ...SIZES,
    architectures: ["Phi3ForCausalLM"],
    rope_scaling: LONG,
    original_max_position_embeddings: 64,
  },
  smollm3: { ...SIZES, architectures: ["SmolLM3ForCausalLM"], tie_word_embeddings: true },
  granite: {
    ...SIZES,
    architectures: ["GraniteForCausalLM"],
    attention_multiplier: 0.125,
    embedding_multiplier: 12,
    residual_multiplier: 0.22,
    logits_scaling: 8,
  },
  olmo2: { ...SIZES, architectures: ["Olmo2ForCausalLM"] },
};

/** What is recorded: all in f32, and the two architectures with both orders of rows in all types. */
export const GGUF_CASES: readonly (readonly [name: string, type: TensorType])[] = [
  ...Object.keys(GGUF_CONFIGS).map((name) => [name, "f32"] as const),
  ...(["f16", "bf16", "q8_0"] as const).flatMap((type) =>
    ["llama", "qwen3"].map((name) => [name, type] as const)
  ),
];

/** The prompt of all cases. */
export const GGUF_IDS: readonly number[] = Array.from(
  { length: 300 },
  (_, i) => (i * 31 + (i % 7) * 13) % SIZES.vocab_size,
);

/** Behind three special tokens and 256 bytes. */
const FIRST_PIECE = 259;

/** A case of `tests/golden/gguf.json`. */
export interface GgufGolden {
  readonly name: string;
  readonly type: TensorType;
  /** Of the file, in hexadecimal digits. */
  readonly sha256: string;
  /** llama.cpp's, with activations rounded to the weights' type. */
  readonly own: readonly number[];
  /** llama.cpp's from the same weights widened to f32. */
  readonly exact: readonly number[];
}

/**
 * Writes a model into a folder, in Hugging Face's format and as `model.gguf`.
 *
 * @returns The path of the GGUF file.
 */
export async function makeGgufModel(
  folder: string,
  { name, type }: { name: string; type: TensorType },
): Promise<string> {
  const config = GGUF_CONFIGS[name];
  if (config === undefined) throw new RangeError(`Cannot find a model ${name}`);
  await makeModel(folder, { config, dtype: "f32", shards: 1, seed: 19 });
  const path = `${folder}/model.gguf`;
  await writeGguf(path, folder, { type });
  return path;
}

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
