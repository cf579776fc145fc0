/**
 * Models of shapes that no reference has: every family, with heads, windows and rotations that the
 * references leave out.
 *
 * @module
 */
import type { ConfigValues } from "../../lib/model/shapes.ts";

/** Tokens that all of them know. */
export const VOCABULARY = 97;
/** What they have in common; also a model of Llama's form. */
export const SIZES: ConfigValues = {
  hidden_size: 96,
  intermediate_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: VOCABULARY,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  tie_word_embeddings: false,
};
const WINDOW = { sliding_window: 70 };
const MIXED = ["full_attention", "sliding_attention", "full_attention"];

function longRope(pairs: number): Record<string, unknown> {
  const factors = (step: number) => Array.from({ length: pairs }, (_, i) => 1 + step * i);
  return {
    original_max_position_embeddings: 128,
    rope_parameters: {
      rope_type: "longrope",
      rope_theta: 10_000,
      partial_rotary_factor: 0.75,
      short_factor: factors(0.01),
      long_factor: factors(0.4),
      original_max_position_embeddings: 128,
    },
  };
}

/** Configurations by what is unusual about them. */
export const UNUSUAL_MODELS: Readonly<Record<string, ConfigValues>> = {
  "Llama, heads of 100, biases, dynamic NTK": {
    ...SIZES,
    architectures: ["LlamaForCausalLM"],
    head_dim: 100,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 10_000,
    max_position_embeddings: 200,
    rope_scaling: { type: "dynamic", factor: 4 },
  },
  "Mistral, heads of 80, all layers with a window": {
    ...SIZES,
    architectures: ["MistralForCausalLM"],
    head_dim: 80,
    ...WINDOW,
  },
  "Qwen 2, heads of 16, a window from layer 1 on": {
    ...SIZES,
    architectures: ["Qwen2ForCausalLM"],
    num_attention_heads: 6,
    use_sliding_window: true,
    max_window_layers: 1,
    ...WINDOW,
  },
  "Qwen 2, heads of 24, a window in the middle": {
    ...SIZES,
    architectures: ["Qwen2ForCausalLM"],
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Qwen 3, heads of 112, a window in the middle": {
    ...SIZES,
    architectures: ["Qwen3ForCausalLM"],
    head_dim: 112,
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Qwen 3, a rotation for each type of layer": {
    ...SIZES,
    architectures: ["Qwen3ForCausalLM"],
    head_dim: 64,
    use_sliding_window: true,
    layer_types: MIXED,
    rope_parameters: {
      full_attention: { rope_type: "linear", rope_theta: 1_000_000, factor: 4 },
      sliding_attention: { rope_type: "default", rope_theta: 10_000 },
    },
    ...WINDOW,
  },
  "Phi 3, heads of 96, LongRoPE on three quarters, a window": {
    ...SIZES,
    architectures: ["Phi3ForCausalLM"],
    hidden_size: 192,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    ...longRope(36),
    ...WINDOW,
  },
  "SmolLM 3, heads of 32, no rotation and no window in some layers": {
    ...SIZES,
    architectures: ["SmolLM3ForCausalLM"],
    num_attention_heads: 3,
    num_key_value_heads: 1,
    no_rope_layers: [1, 0, 1],
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Granite, heads of 24, all multipliers": {
    ...SIZES,
    architectures: ["GraniteForCausalLM"],
    embedding_multiplier: 12,
    attention_multiplier: 0.1,
    residual_multiplier: 0.3,
    logits_scaling: 5,
    attention_bias: true,
  },
  "OLMo 2, heads of 24, YaRN": {
    ...SIZES,
    architectures: ["Olmo2ForCausalLM"],
    rope_theta: 500_000,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 256 },
  },
};
