/**
 * Stop words and clean-up where an answer's characters are made of byte tokens, as with Llama 2's and
 * Mistral's tokenizers: from the model's choice to the text.
 *
 * @module
 */
import { loadModel, type LoadOptions, type Model } from "../../mod.ts";
import { assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { type TensorBytes, writeWeights } from "../helpers/safetensors.ts";

const SPACE = "\u2581";
const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).toUpperCase().padStart(2, "0"));
const TOKENS = ["<unk>", "<s>", "</s>", ...HEX.map((hex) => `<0x${hex}>`), "x", `${SPACE}the`, "y"];
/** A row for each token, in heads of 64. */
const HIDDEN = 320;
const INTERMEDIATE = 64;

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: HIDDEN,
  intermediate_size: INTERMEDIATE,
  num_hidden_layers: 1,
  num_attention_heads: 5,
  num_key_value_heads: 1,
  vocab_size: TOKENS.length,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
};
const TOKENIZER = {
  version: "1.0",
  added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ single_word: false, lstrip: false, rstrip: false },
  })),
  normalizer: {
    type: "Replace",
    pattern: { String: " " },
    content: SPACE,
  },
  model: {
    type: "BPE",
    byte_fallback: true,
    merges: [],
    unk_token: "<unk>",
    vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])),
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: SPACE }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
};

/** The tokens of an answer, each another one; a text stands for its bytes. */
function tokensOf(parts: readonly string[]): number[] {
  return parts.flatMap((part) => {
    const id = TOKENS.indexOf(part);
    return id >= 0 ? [id] : [...new TextEncoder().encode(part)].map((byte) => byte + 3);
  });
}

/**
 * A model that says each token behind the one before it: its layer adds nothing, and its head knows
 * each token's row of the embedding.
 */
function chain(ids: readonly number[]): Map<string, TensorBytes> {
  const zeros = (...shape: number[]) => {
    const count = shape.reduce((product, extent) => product * extent, 1);
    return { shape, floats: new Float32Array(count) };
  };
  const ones = { shape: [HIDDEN], floats: new Float32Array(HIDDEN).fill(1) };
  const embedding = zeros(TOKENS.length, HIDDEN);
  TOKENS.forEach((_, id) => embedding.floats[id * HIDDEN + id] = 1);
  const head = zeros(TOKENS.length, HIDDEN);
  for (let i = 1; i < ids.length; i++) {
    head.floats[(ids[i] ?? 0) * HIDDEN + (ids[i - 1] ?? 0)] = 1;
  }
  const layer = "model.layers.0";
  const tensors = {
    "model.embed_tokens": embedding,
    "model.norm": ones,
    "lm_head": head,
    [`${layer}.input_layernorm`]: ones,
    [`${layer}.post_attention_layernorm`]: ones,
    [`${layer}.self_attn.q_proj`]: zeros(HIDDEN, HIDDEN),
    [`${layer}.self_attn.k_proj`]: zeros(64, HIDDEN),
    [`${layer}.self_attn.v_proj`]: zeros(64, HIDDEN),
    [`${layer}.self_attn.o_proj`]: zeros(HIDDEN, HIDDEN),
    [`${layer}.mlp.gate_proj`]: zeros(INTERMEDIATE, HIDDEN),
    [`${layer}.mlp.up_proj`]: zeros(INTERMEDIATE, HIDDEN),
    [`${layer}.mlp.down_proj`]: zeros(HIDDEN, INTERMEDIATE),
  };
  return new Map(
    Object.entries(tensors).map(([name, { shape, floats }]) => [
      `${name}.weight`,
      { dtype: "F32", shape, bytes: new Uint8Array(floats.slice().buffer) },
    ]),
  );
}

/** Runs with a model that answers what ends in `y` with some tokens. */
async function withAnswer(
  parts: readonly string[],
  use: (model: Model) => Promise<void>,
  options: { config?: Record<string, unknown>; load?: LoadOptions } = {},
): Promise<void> {
  const files = {
    "config.json": JSON.stringify(CONFIG),
    "tokenizer.json": JSON.stringify(TOKENIZER),
    "tokenizer_config.json": JSON.stringify(options.config ?? {}),
  };
  await inFolder(files, async (folder) => {
    const ids = tokensOf(["y", ...parts]);
    await writeWeights(`${folder}/model.safetensors`, chain(ids));
    await using model = await loadModel(folder, { device: "cpu", threads: 1, ...options.load });
    await use(model);
  });
}

const PROMPT = { context: "xx", query: "y" };
const ANSWER = ["x", "\u00e9", "\u{1d11e}", `${SPACE}the`, "\n", "!"];

Deno.test("generate() ends at stop words that span byte tokens, and at no part of them", async (t) => {
  const tokensToGenerate = tokensOf(ANSWER).length;
  /** Stop word, the text before it, and how many tokens complete it. */
  const cases = [
    ["\u00e9", "x", 3],
    ["\u{1d11e}", "x\u00e9", 7],
    ["\u{1d11e} the", "x\u00e9", 8],
    [" the", "x\u00e9\u{1d11e}", 8],
    ["the\n", "x\u00e9\u{1d11e} ", 9],
    ["\n!", "x\u00e9\u{1d11e} the", 10],
    // Its first three bytes are those of the answer's character.
    ["\u{1d11f}", "x\u00e9\u{1d11e} the\n!", 10],
  ] as const;
  await withAnswer(ANSWER, async (model) => {
    for (const [word, text, count] of cases) {
      await t.step(JSON.stringify(word), async () => {
        const found = await model.generate(PROMPT, { tokensToGenerate, stopWords: [word] });
        assertEquals([found.text, found.ids.length], [text, count]);
      });
    }
  });
});

Deno.test("generate() cleans spaces as tokenizer_config.json says, before it looks for stop words", async () => {
  const parts = ["x", " ", ".", "\n", "!"];
  const options = { tokensToGenerate: 5 };
  for (const [cleans, text] of [[true, "x.\n!"], [false, "x .\n!"]] as const) {
    await withAnswer(parts, async (model) => {
      assertEquals((await model.generate(PROMPT, options)).text, text);
      const cut = await model.generate(PROMPT, { ...options, stopWords: ["x."] });
      assertEquals(cut.text, cleans ? "" : text);
    }, { config: { clean_up_tokenization_spaces: cleans } });
  }
});
