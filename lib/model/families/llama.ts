/**
 * Llama (arXiv 2302.13971), as transformers' `LlamaForCausalLM` stores it.
 *
 * @module
 */
import { describeDecoder } from "./decoder.ts";
import type { Family } from "./family.ts";

export const LLAMA: Family = {
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  describe: (config) => {
    const bias = config.flag("attention_bias");
    return describeDecoder(config, {
      family: "llama",
      qkvBias: bias,
      outputBias: bias,
      mlpBias: config.flag("mlp_bias"),
    });
  },
};
