/**
 * OLMo 2 (arXiv 2501.00656): norms stand behind attention and feed-forward part, and queries and keys
 * have norms over all heads together.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";

export const OLMO2: Family = {
  architecture: "Olmo2ForCausalLM",
  modelType: "olmo2",
  describe: (config) => {
    const bias = config.flag("attention_bias");
    return describeDecoder(config, {
      family: "olmo2",
      defaults: { normEps: 1e-5, maxPositions: 2048 },
      qkvBias: bias,
      outputBias: bias,
      headNorms: "all",
      normsBehind: true,
    });
  },
};
