/**
 * @module
 */
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import { parseConfig } from "../../lib/model/config.ts";
import { planBuffers } from "../../lib/model/layer_buffers.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { assertEquals } from "../helpers/assert.ts";

const SIZES = {
  hidden_size: 128,
  intermediate_size: 192,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 64,
  vocab_size: 32,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
};

/** What a family's results of products are rounded to. */
function resultsOf(kind: "cpu" | "cuda", architecture: string, modelType: string) {
  const raw = { ...SIZES, architectures: [architecture], model_type: modelType };
  const config = parseConfig(raw, { path: "config.json" });
  const sizes = { config, precision: PRECISIONS.bf16, tokens: 16 };
  const { named: { qkv, gateUp, residual } } = planBuffers(DEVICE_TRAITS[kind], sizes);
  return [qkv.dtype, gateUp.dtype, residual.dtype];
}

Deno.test("planBuffers() rounds results of products on a GPU where no op changes them", () => {
  assertEquals(resultsOf("cuda", "LlamaForCausalLM", "llama"), ["bf16", "bf16", "f32"]);
  // Biases of queries, keys and values; norms of heads.
  assertEquals(resultsOf("cuda", "Qwen2ForCausalLM", "qwen2"), ["f32", "bf16", "f32"]);
  assertEquals(resultsOf("cuda", "Qwen3ForCausalLM", "qwen3"), ["f32", "bf16", "f32"]);
});

Deno.test("planBuffers() rounds no results of products on a CPU", () => {
  assertEquals(resultsOf("cpu", "LlamaForCausalLM", "llama"), ["f32", "f32", "f32"]);
});
