/**
 * Mistral (arXiv 2310.06825) and Mistral Nemo: all layers see a window, where there is one.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readWindow } from "./layer_types.ts";

export const MISTRAL: Family = {
  architecture: "MistralForCausalLM",
  modelType: "mistral",
  describe: (config) =>
    describeDecoder(config, {
      family: "mistral",
      defaults: { maxPositions: 131_072, kvHeads: 8 },
      // A configuration that says nothing is that of the first Mistral.
      window: readWindow(config, { fallback: 4096 }),
      layerType: () => "sliding_attention",
    }),
};
