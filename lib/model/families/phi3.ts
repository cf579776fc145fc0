/**
 * Phi-3, Phi-3.5-mini and Phi-4-mini (arXiv 2404.14219): queries, keys and values lie in one tensor
 * of the file, and so do gate and up; a part of each head may be rotated.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readWindow } from "./layer_types.ts";

export const PHI3: Family = {
  architecture: "Phi3ForCausalLM",
  modelType: "phi3",
  describe: (config) =>
    describeDecoder(config, {
      family: "phi3",
      defaults: { normEps: 1e-5, maxPositions: 4096 },
      isFused: true,
      isPartlyRotated: true,
      window: readWindow(config),
      layerType: () => "sliding_attention",
    }),
};
