/**
 * Shapes of models by name: published ones for benchmarks, and a small one for tests.
 *
 * Figures from the models' `config.json` on Hugging Face.
 *
 * @module
 */
import { parseConfig } from "./config.ts";
import type { ModelShape } from "./model_shape.ts";

/** The keys of a `config.json`. */
export type ConfigValues = Readonly<Record<string, unknown>>;

const LLAMA = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};

const LLAMA3_SCALING = {
  rope_type: "llama3",
  factor: 32,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

/** Configurations by name, in transformers' spelling. */
export const MODEL_CONFIGS = {
  small: {
    ...LLAMA,
    hidden_size: 128,
    intermediate_size: 192,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 64,
    vocab_size: 4096,
    max_position_embeddings: 4096,
    rope_theta: 10000,
  },
  // HuggingFaceTB/SmolLM2-135M
  "135m": {
    ...LLAMA,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    rope_theta: 100000,
  },
  "llama-3.2-1b": {
    ...LLAMA,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    rope_scaling: LLAMA3_SCALING,
  },
  "llama-3.1-8b": {
    ...LLAMA,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 128,
    vocab_size: 128256,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    rope_scaling: { ...LLAMA3_SCALING, factor: 8 },
    tie_word_embeddings: false,
  },
} as const satisfies Record<string, ConfigValues>;

/** The names of the shapes. */
export const SHAPE_NAMES: readonly string[] = Object.keys(MODEL_CONFIGS);

/** The shape of a name; undefined if there is none. */
export function modelShape(name: string): ModelShape | undefined {
  const values = new Map<string, ConfigValues>(Object.entries(MODEL_CONFIGS)).get(name);
  return values === undefined ? undefined : parseConfig(values, { path: name });
}
