/**
 * SmolLM3 (huggingface.co/blog/smollm3): some layers do not rotate queries and keys.
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readSwitchedWindow } from "./layer_types.ts";

export const SMOLLM3: Family = {
  architecture: "SmolLM3ForCausalLM",
  modelType: "smollm3",
  describe: (config) => {
    const window = readSwitchedWindow(config);
    const hasRope = readRopeLayers(config);
    const bias = config.flag("attention_bias");
    return describeDecoder(config, {
      family: "smollm3",
      defaults: { maxPositions: 32_768, kvHeads: 4, theta: 2_000_000, isTied: true },
      qkvBias: bias,
      outputBias: bias,
      mlpBias: config.flag("mlp_bias"),
      window,
      layerType: (layer) =>
        window !== undefined && !hasRope(layer) ? "sliding_attention" : "full_attention",
      hasRope,
    });
  },
};

/** `no_rope_layers` has 1 for a layer that rotates; without it every fourth one does not. */
function readRopeLayers(config: ConfigReader): (layer: number) => boolean {
  const key = "no_rope_layers";
  const interval = config.whole("no_rope_layer_interval", { min: 1, max: 1024, fallback: 4 });
  const found = config.value(key);
  if (found === undefined) return (layer) => (layer + 1) % interval !== 0;
  const layers: unknown[] = Array.isArray(found) ? found : [];
  const count = config.whole("num_hidden_layers", { min: 1, max: 1024 });
  if (layers.length < count || !layers.every((value) => value === 0 || value === 1)) {
    throw config.refusal(key, { expected: `made of ${count} times 0 or 1`, found });
  }
  return (layer) => layers[layer] === 1;
}
