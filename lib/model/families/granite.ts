/**
 * Granite 3 (github.com/ibm-granite/granite-3.0-language-models): four multipliers.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";

export const GRANITE: Family = {
  architecture: "GraniteForCausalLM",
  modelType: "granite",
  describe: (config) => {
    const bias = config.flag("attention_bias");
    const factor = (key: string) => config.number(key, { min: 1e-6, max: 1e6, fallback: 1 });
    return describeDecoder(config, {
      family: "granite",
      qkvBias: bias,
      outputBias: bias,
      mlpBias: config.flag("mlp_bias"),
      multipliers: {
        embedding: factor("embedding_multiplier"),
        attention: factor("attention_multiplier"),
        residual: factor("residual_multiplier"),
        logits: factor("logits_scaling"),
      },
    });
  },
};
