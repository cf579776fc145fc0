/**
 * A model of a few hundred kilobytes, as the files of its folder: what a fuzz test damages.
 *
 * @module
 */
import { normalNumber, uniformNumbers } from "../../lib/random.ts";
import { TINY } from "./programs.ts";

/** The files of a model's folder. */
export interface ModelFiles {
  readonly config: Record<string, unknown>;
  readonly tokenizer: TokenizerFile;
  readonly weights: WeightsFile;
}

/** A `tokenizer.json`. */
export interface TokenizerFile {
  readonly [key: string]: unknown;
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (readonly [string, string])[];
  };
  readonly added_tokens: readonly Readonly<Record<string, unknown>>[];
}

/** A `model.safetensors` in its two parts. */
export interface WeightsFile {
  readonly header: Readonly<Record<string, TensorHeader>>;
  readonly data: Uint8Array;
}

/** What a header says of a tensor. */
export interface TensorHeader {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const HIDDEN = 64;
const INTERMEDIATE = 128;
/** The bytes, some merges, and the special tokens behind them. */
const VOCABULARY = 320;

/** Makes the files; always the same ones. */
export function fuzzModel(): ModelFiles {
  const tokenizer = smallTokenizer();
  return { config: smallConfig(), tokenizer, weights: randomWeights() };
}

function smallConfig(): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    attention_bias: false,
    bos_token_id: 313,
    eos_token_id: [314, 317],
    head_dim: 64,
    hidden_act: "silu",
    hidden_size: HIDDEN,
    intermediate_size: INTERMEDIATE,
    max_position_embeddings: 4096,
    mlp_bias: false,
    model_type: "llama",
    num_attention_heads: 2,
    num_hidden_layers: 2,
    num_key_value_heads: 1,
    rms_norm_eps: 1e-5,
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 1024,
    },
    rope_theta: 10000,
    tie_word_embeddings: true,
    vocab_size: VOCABULARY,
  };
}

/** The tokenizer of the repository's model with its first merges only. */
function smallTokenizer(): TokenizerFile {
  const file: TokenizerFile = JSON.parse(Deno.readTextFileSync(`${TINY}/tokenizer.json`));
  const limit = VOCABULARY - file.added_tokens.length;
  const vocab = Object.fromEntries(
    Object.entries(file.model.vocab).filter(([, id]) => id < limit),
  );
  const merges = file.model.merges.filter((pair) =>
    [...pair, pair.join("")].every((token) => Object.hasOwn(vocab, token))
  );
  const added = file.added_tokens.map((token, i) => ({ ...token, id: limit + i }));
  return { ...file, model: { ...file.model, vocab, merges }, added_tokens: added };
}

function randomWeights(): WeightsFile {
  const shapes: Record<string, readonly number[]> = {
    "model.embed_tokens.weight": [VOCABULARY, HIDDEN],
    "model.norm.weight": [HIDDEN],
  };
  for (const layer of [0, 1]) {
    const prefix = `model.layers.${layer}`;
    Object.assign(shapes, {
      [`${prefix}.input_layernorm.weight`]: [HIDDEN],
      [`${prefix}.self_attn.q_proj.weight`]: [128, HIDDEN],
      [`${prefix}.self_attn.k_proj.weight`]: [64, HIDDEN],
      [`${prefix}.self_attn.v_proj.weight`]: [64, HIDDEN],
      [`${prefix}.self_attn.o_proj.weight`]: [HIDDEN, 128],
      [`${prefix}.post_attention_layernorm.weight`]: [HIDDEN],
      [`${prefix}.mlp.gate_proj.weight`]: [INTERMEDIATE, HIDDEN],
      [`${prefix}.mlp.up_proj.weight`]: [INTERMEDIATE, HIDDEN],
      [`${prefix}.mlp.down_proj.weight`]: [HIDDEN, INTERMEDIATE],
    });
  }
  const header: Record<string, TensorHeader> = {};
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const begin = end;
    end += 2 * shape.reduce((product, extent) => product * extent, 1);
    header[name] = { dtype: "BF16", shape, data_offsets: [begin, end] };
  }
  const random = uniformNumbers(1);
  const floats = Float32Array.from({ length: end / 2 }, () => 0.1 * normalNumber(random));
  const values = new Uint32Array(floats.buffer);
  const data = new Uint8Array(end);
  const words = new DataView(data.buffer);
  // bf16 is the upper half of an f32.
  values.forEach((value, i) => words.setUint16(2 * i, value >>> 16, true));
  return { header, data };
}

/**
 * The bytes of a `model.safetensors`.
 *
 * @param header The text behind the length. @param data What follows it.
 * @param options A length other than the header's own.
 */
export function safetensorsBytes(
  header: string,
  data: Uint8Array,
  options: { length?: bigint } = {},
): Uint8Array {
  // The data must begin at a multiple of 8 for a reader that checks alignment.
  const text = new TextEncoder().encode(header);
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  padded.set(text);
  const bytes = new Uint8Array(8 + padded.length + data.length);
  const length = BigInt.asUintN(64, options.length ?? BigInt(padded.length));
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  bytes.set(padded, 8);
  bytes.set(data, 8 + padded.length);
  return bytes;
}
