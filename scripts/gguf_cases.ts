/**
 * Small random models of all architectures in GGUF form, and what llama.cpp computes from them.
 *
 * @module
 */
import { makeModel } from "./make_model.ts";
import { writeGguf } from "./gguf.ts";
import type { TensorType } from "./gguf_file.ts";

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
