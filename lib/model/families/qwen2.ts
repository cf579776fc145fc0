/**
 * Qwen2 and Qwen2.5 (arXiv 2412.15115): queries, keys and values have biases; the later layers may
 * see a window.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readSwitchedWindow } from "./layer_types.ts";

export const QWEN2: Family = {
  architecture: "Qwen2ForCausalLM",
  modelType: "qwen2",
  describe: (config) => {
    const window = readSwitchedWindow(config, { fallback: 4096 });
    const first = config.whole("max_window_layers", { min: 0, max: 1024, fallback: 28 });
    return describeDecoder(config, {
      family: "qwen2",
      defaults: { maxPositions: 32_768, kvHeads: 32 },
      qkvBias: true,
      window,
      layerType: (layer) =>
        window !== undefined && layer >= first ? "sliding_attention" : "full_attention",
    });
  },
};
