/**
 * How tokenizers of GGUF files split a text before all else, by the names in `tokenizer.ggml.pre`.
 *
 * The names are llama.cpp's (`llama-vocab.cpp`); what they stand for is taken from the published
 * `tokenizer.json` of the models that have them, whose patterns llama.cpp imitates.
 *
 * @module
 */

/** Parts of a `tokenizer.json`. */
export interface PreTokenizer {
  readonly normalizer: unknown;
  readonly preTokenizer: unknown;
  /** Whether a piece that is a token as a whole is one, whatever the merges say. */
  readonly ignoresMerges: boolean;
}

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const LETTERS = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const MARKS = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
/** Words of small letters behind any of large ones, or of large letters alone. */
const CASED = (ending: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${ending}|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${ending}`;
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";

const split = (pattern: string) => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});
const bytes = (splits: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: splits,
});
const sequence = (...pretokenizers: unknown[]) => ({ type: "Sequence", pretokenizers });

/** A pattern, then bytes. */
function byPattern(pattern: string, ignoresMerges = false): PreTokenizer {
  return {
    normalizer: null,
    preTokenizer: sequence(split(pattern), bytes(false)),
    ignoresMerges,
  };
}

const LLAMA3 = `${CONTRACTIONS}|${LETTERS}|\\p{N}{1,3}|${MARKS}|${SPACES}`;
const QWEN2: PreTokenizer = {
  ...byPattern(`${CONTRACTIONS}|${LETTERS}|\\p{N}|${MARKS}|${SPACES}`),
  normalizer: { type: "NFC" },
};
const GPT4O = byPattern(
  `${CASED(`${CONTRACTIONS}?`)}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`,
);
const TEKKEN = byPattern(`${CASED("")}|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`, true);
const PLAIN: PreTokenizer = { normalizer: null, preTokenizer: bytes(true), ignoresMerges: false };
const DIGITS: PreTokenizer = {
  ...PLAIN,
  preTokenizer: sequence({ type: "Digits", individual_digits: true }, bytes(true)),
};
/** No model's own: what llama.cpp does with files whose converter did not know the tokenizer. */
const DEFAULT: PreTokenizer = {
  ...PLAIN,
  preTokenizer: sequence(
    ...["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"].map(split),
    bytes(false),
  ),
};

/** By name. */
const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  "llama-bpe": byPattern(LLAMA3, true),
  "llama3": byPattern(LLAMA3, true),
  "llama-v3": byPattern(LLAMA3, true),
  // OLMo 2, with the patterns of GPT-4.
  "dbrx": byPattern(LLAMA3),
  "qwen2": QWEN2,
  "deepseek-r1-qwen": QWEN2,
  // Phi-4-mini.
  "gpt-4o": GPT4O,
  // Mistral Nemo.
  "tekken": TEKKEN,
  "gpt-2": PLAIN,
  "gpt2": PLAIN,
  "olmo": PLAIN,
  "smollm": DIGITS,
  "starcoder": DIGITS,
  // Granite.
  "refact": DIGITS,
  "default": DEFAULT,
};

/** The names that are known, for messages. */
export const PRE_TOKENIZER_NAMES = Object.keys(PRE_TOKENIZERS).join(", ");

/** What a name stands for; undefined if it is not known. */
export function preTokenizerNamed(name: string): PreTokenizer | undefined {
  return Object.hasOwn(PRE_TOKENIZERS, name) ? PRE_TOKENIZERS[name] : undefined;
}
