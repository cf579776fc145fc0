/**
 * The tokens that end an answer of a model in GGUF form.
 *
 * @module
 */
import type { GgufMetadata } from "./metadata.ts";
import { TOKEN_TYPES } from "./token_table.ts";

/** Names under which files have single ids. */
const KEYS = ["eos", "eot", "eom"] as const;

/**
 * Tokens by whose names llama.cpp knows that a turn or a text ends: Phi-3's files name `<|endoftext|>`
 * alone, and its answers end with `<|end|>`.
 */
const TEXTS: readonly string[] = [
  ...["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"],
  ...["<end_of_turn>", "<EOT>", "_<EOT>", "[EOT]"],
];

/**
 * Ids of the tokens that end an answer, each once.
 *
 * @throws {FileError} If the metadata have values of other types.
 */
export function ggufEndIds(metadata: GgufMetadata): number[] {
  const named = KEYS.flatMap((name) => metadata.number(`tokenizer.ggml.${name}_token_id`) ?? []);
  const texts = metadata.array("tokenizer.ggml.tokens")?.strings() ?? [];
  const types = metadata.array("tokenizer.ggml.token_type")?.numbers() ?? [];
  const isSpecial = (id: number) =>
    types[id] === TOKEN_TYPES.control || types[id] === TOKEN_TYPES.userDefined;
  const known = texts.flatMap((text, id) => TEXTS.includes(text) && isSpecial(id) ? [id] : []);
  return [...new Set([...named, ...known])];
}
