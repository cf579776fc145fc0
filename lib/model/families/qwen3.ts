/**
 * Qwen3 (arXiv 2505.09388): each query and key head has an RMS norm; the later layers may see a
 * window.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readSwitchedWindow } from "./layer_types.ts";

export const QWEN3: Family = {
  architecture: "Qwen3ForCausalLM",
  modelType: "qwen3",
  describe: (config) => {
    const window = readSwitchedWindow(config, { fallback: 4096 });
    const first = config.whole("max_window_layers", { min: 0, max: 1024, fallback: 28 });
    const bias = config.flag("attention_bias");
    return describeDecoder(config, {
      family: "qwen3",
      defaults: { maxPositions: 32_768, kvHeads: 32, headDim: 128 },
      qkvBias: bias,
      outputBias: bias,
      headNorms: "each",
      window,
      layerType: (layer) =>
        window !== undefined && layer >= first ? "sliding_attention" : "full_attention",
    });
  },
};
