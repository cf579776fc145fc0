/**
 * The shape that all families here share: a decoder whose layers have attention with grouped key
 * heads (arXiv 2305.13245), rotary positions and a gated feed-forward part (arXiv 2302.13971).
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";
import type { LayerShape, ModelShape, ProductShape, WeightSpec } from "../model_shape.ts";
import { readRope } from "./rope_config.ts";

// Far above every published model, and low enough that the byte size of any tensor (at most
// 2^24 x 2^16 elements of 4 bytes) is an exact number.
const MAX_HIDDEN = 1 << 16;
const MAX_INTERMEDIATE = 1 << 20;
const MAX_LAYERS = 1024;
const MAX_HEADS = 1024;
const MAX_VOCABULARY = 1 << 24;
/** More positions than any model has. */
export const MAX_POSITIONS = 1 << 27;

/** What a family has otherwise than Llama. */
export interface DecoderTraits {
  /** `model_type`. */
  readonly family: string;
}

/**
 * Reads the keys that all families have and describes the layers.
 *
 * @throws {FileError} If a key is missing, has the wrong type or is out of its range.
 */
export function describeDecoder(config: ConfigReader, traits: DecoderTraits): ModelShape {
  config.expect("hidden_act", "silu");
  const hiddenSize = config.whole("hidden_size", { min: 1, max: MAX_HIDDEN });
  const heads = readHeads(config, hiddenSize);
  const vocabularySize = config.whole("vocab_size", { min: 1, max: MAX_VOCABULARY });
  const intermediateSize = config.whole("intermediate_size", { min: 1, max: MAX_INTERMEDIATE });
  const layerCount = config.whole("num_hidden_layers", { min: 1, max: MAX_LAYERS });
  const maxPositions = config.whole("max_position_embeddings", { min: 1, max: MAX_POSITIONS });
  const normEps = config.number("rms_norm_eps", { min: 1e-12, max: 1 });
  const sizes = { hiddenSize, intermediateSize, ...heads };
  const table = [vocabularySize, hiddenSize];
  const embedding = { name: "model.embed_tokens.weight", shape: table };
  return {
    family: traits.family,
    ...sizes,
    layerCount,
    vocabularySize,
    maxPositions,
    normEps,
    rope: readRope(config, { headDim: heads.headDim }),
    embedding,
    layers: Array.from({ length: layerCount }, (_, layer) => describeLayer(sizes, layer)),
    norm: { name: "model.norm.weight", shape: [hiddenSize] },
    head: config.flag("tie_word_embeddings") ? embedding : { name: "lm_head.weight", shape: table },
    bosTokenId: tokenIds(config, "bos_token_id", vocabularySize)[0],
    eosTokenIds: tokenIds(config, "eos_token_id", vocabularySize),
  };
}

type LayerSizes = Pick<
  ModelShape,
  "hiddenSize" | "intermediateSize" | "queryHeads" | "kvHeads" | "headDim"
>;

function describeLayer(sizes: LayerSizes, layer: number): LayerShape {
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, headDim } = sizes;
  const weight = (name: string, ...shape: number[]): WeightSpec => ({
    name: `model.layers.${layer}.${name}.weight`,
    shape,
  });
  const product = (...weights: WeightSpec[]): ProductShape => ({ weights });
  return {
    inputNorm: weight("input_layernorm", hiddenSize),
    qkv: product(
      weight("self_attn.q_proj", queryHeads * headDim, hiddenSize),
      weight("self_attn.k_proj", kvHeads * headDim, hiddenSize),
      weight("self_attn.v_proj", kvHeads * headDim, hiddenSize),
    ),
    output: product(weight("self_attn.o_proj", hiddenSize, queryHeads * headDim)),
    mlpNorm: weight("post_attention_layernorm", hiddenSize),
    gateUp: product(
      weight("mlp.gate_proj", intermediateSize, hiddenSize),
      weight("mlp.up_proj", intermediateSize, hiddenSize),
    ),
    down: product(weight("mlp.down_proj", hiddenSize, intermediateSize)),
  };
}

function readHeads(
  config: ConfigReader,
  hiddenSize: number,
): Pick<ModelShape, "queryHeads" | "kvHeads" | "headDim"> {
  const queryHeads = config.whole("num_attention_heads", { min: 1, max: MAX_HEADS });
  const kvHeads = config.whole("num_key_value_heads", {
    min: 1,
    max: MAX_HEADS,
    fallback: queryHeads,
  });
  if (queryHeads % kvHeads !== 0) {
    const expected = `a divisor of 'num_attention_heads' ${queryHeads}`;
    throw config.refusal("num_key_value_heads", { expected, found: kvHeads });
  }
  const given = config.value("head_dim");
  const found = given ?? hiddenSize / queryHeads;
  if (found !== 64 && found !== 128) {
    const expected = given === undefined
      ? "64 or 128, or given by 'hidden_size' / 'num_attention_heads'"
      : "64 or 128";
    throw config.refusal("head_dim", { expected, found });
  }
  return { queryHeads, kvHeads, headDim: found };
}

/** A key that holds one id, an array of ids, or nothing. */
function tokenIds(config: ConfigReader, key: string, vocabularySize: number): number[] {
  const found = config.value(key) ?? [];
  const ids: unknown[] = Array.isArray(found) ? found : [found];
  return ids.map((id) => {
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabularySize) return id;
    const expected = `made of whole numbers from 0 to ${vocabularySize - 1}`;
    throw config.refusal(key, { expected, found: id });
  });
}
