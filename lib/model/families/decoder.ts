/**
 * The shape that all families here share: a decoder whose layers have attention with grouped key
 * heads (arXiv 2305.13245), rotary positions and a gated feed-forward part (arXiv 2302.13971).
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";
import type { LayerShape, ModelShape, ProductShape, WeightSpec } from "../model_shape.ts";
import { tokenIds } from "../token_ids.ts";
import { type LayerType, readLayerTypes } from "./layer_types.ts";
import { reachOf, readRopes } from "./rope_config.ts";

// Far above every published model, and low enough that the byte size of any tensor (at most
// 2^24 x 2^16 elements of 4 bytes) is an exact number.
const MAX_HIDDEN = 1 << 16;
const MAX_INTERMEDIATE = 1 << 20;
const MAX_LAYERS = 1024;
const MAX_HEADS = 1024;
const MAX_VOCABULARY = 1 << 24;
/** More positions than any model has. */
const MAX_POSITIONS = 1 << 27;

/** What attention kernels take; smaller heads are padded. */
const KERNEL_HEAD_DIMS = [64, 128] as const;

/** What a family has otherwise than Llama; what is absent is as there. */
export interface DecoderTraits {
  /** `model_type`. */
  readonly family: string;
  /** transformers' values of keys that a configuration lacks. */
  readonly defaults?: Partial<DecoderDefaults>;
  /** Whether queries, keys and values have biases. @default {false} */
  readonly qkvBias?: boolean;
  /** Whether the attention's output has one. @default {false} */
  readonly outputBias?: boolean;
  /** Whether the feed-forward part has them. @default {false} */
  readonly mlpBias?: boolean;
  /** Whether the file has queries, keys and values, and gate and up, in one tensor each. */
  readonly isFused?: boolean;
  /** RMS norms of queries and keys: of each head, or of all heads together. */
  readonly headNorms?: "each" | "all";
  /** Whether norms stand behind attention and feed-forward part, not before them. */
  readonly normsBehind?: boolean;
  /** The window of a type of layer; none by default. */
  readonly window?: number | undefined;
  /** The type of each layer; all see everything by default. */
  readonly layerType?: (layer: number) => LayerType;
  /** Whether `partial_rotary_factor` is heard. @default {false} */
  readonly isPartlyRotated?: boolean;
  /** Whether a layer rotates queries and keys. @default {true} */
  readonly hasRope?: (layer: number) => boolean;
  readonly multipliers?: Multipliers;
}

/** transformers' values of keys that a configuration lacks. */
export interface DecoderDefaults {
  readonly normEps: number;
  readonly maxPositions: number;
  readonly theta: number;
  readonly isTied: boolean;
  /** Undefined for as many as query heads. */
  readonly kvHeads: number | undefined;
  /** Undefined for the hidden size by the query heads. */
  readonly headDim: number | undefined;
}

const DEFAULTS: DecoderDefaults = {
  normEps: 1e-6,
  maxPositions: 2048,
  theta: 10_000,
  isTied: false,
  kvHeads: undefined,
  headDim: undefined,
};

/** Granite's factors. */
export interface Multipliers {
  readonly embedding: number;
  /** Of the products of queries and keys, in place of 1 / sqrt(head_dim). */
  readonly attention: number;
  /** Of what attention and feed-forward part add. */
  readonly residual: number;
  /** The logits are divided by it. */
  readonly logits: number;
}

/**
 * Reads the keys that all families have and describes the layers.
 *
 * @throws {FileError} If a key is missing, has the wrong type or is out of its range.
 */
export function describeDecoder(config: ConfigReader, traits: DecoderTraits): ModelShape {
  // One function by two names.
  if (config.value("hidden_act") !== "swish") config.expect("hidden_act", "silu");
  const defaults = { ...DEFAULTS, ...traits.defaults };
  const hiddenSize = config.whole("hidden_size", { min: 1, max: MAX_HIDDEN });
  const heads = readHeads(config, { hiddenSize, defaults });
  const vocabularySize = config.whole("vocab_size", { min: 1, max: MAX_VOCABULARY });
  const intermediateSize = config.whole("intermediate_size", { min: 1, max: MAX_INTERMEDIATE });
  const layerCount = config.whole("num_hidden_layers", { min: 1, max: MAX_LAYERS });
  const maxPositions = config.whole("max_position_embeddings", {
    min: 1,
    max: MAX_POSITIONS,
    fallback: defaults.maxPositions,
  });
  const eps = config.number("rms_norm_eps", { min: 1e-12, max: 1, fallback: defaults.normEps });
  const sizes = { hiddenSize, intermediateSize, ...heads };
  const { ownHeadDim: headDim } = heads;
  const { isPartlyRotated = false } = traits;
  const defaultTheta = defaults.theta;
  const byType = readRopes(config, { headDim, maxPositions, defaultTheta, isPartlyRotated });
  const types = readLayerTypes(config, { layerCount, layerType: traits.layerType });
  const ropes = [...new Set(types.map((type) => byType[type]))];
  const table = [vocabularySize, hiddenSize];
  const embedding = { name: "model.embed_tokens.weight", shape: table };
  const norm: WeightSpec = { name: "model.norm.weight", shape: [hiddenSize] };
  const { multipliers } = traits;
  const { residual = 1, logits = 1 } = multipliers ?? {};
  const warnings: string[] = [];
  const idsOf = (key: string) => tokenIds(config, { key, vocabularySize, warnings });
  return {
    family: traits.family,
    ...sizes,
    layerCount,
    vocabularySize,
    maxPositions: Math.min(...ropes.map((rope) => reachOf(rope, maxPositions))),
    normEps: eps,
    // A residual stream that is smaller by the factor of what is added to it gets it unscaled; a
    // norm makes no difference between the two but for what is added to its mean square.
    residualEps: eps / residual ** 2,
    attentionScale: multipliers?.attention ?? 1 / Math.sqrt(headDim),
    embeddingScale: (multipliers?.embedding ?? 1) / residual,
    ropes,
    embedding,
    layers: types.map((type, layer) =>
      describeLayer(sizes, { layer, type, rope: ropes.indexOf(byType[type]), traits })
    ),
    norm: logits === 1 ? norm : { ...norm, scale: 1 / logits },
    head: config.flag("tie_word_embeddings", defaults.isTied)
      ? embedding
      : { name: "lm_head.weight", shape: table },
    bosTokenId: idsOf("bos_token_id")[0],
    eosTokenIds: idsOf("eos_token_id"),
    warnings,
  };
}

type LayerSizes = Pick<
  ModelShape,
  "hiddenSize" | "intermediateSize" | "queryHeads" | "kvHeads" | "ownHeadDim"
>;

function describeLayer(
  sizes: LayerSizes,
  options: { layer: number; type: LayerType; rope: number; traits: DecoderTraits },
): LayerShape {
  const { layer, type, rope, traits } = options;
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, ownHeadDim: headDim } = sizes;
  const { headNorms, normsBehind = false, isFused = false, window } = traits;
  const path = `model.layers.${layer}`;
  const norm = (name: string, size = hiddenSize): WeightSpec => ({
    name: `${path}.${name}.weight`,
    shape: [size],
  });
  const product = (names: Names, inputs: number, options: { hasBias: boolean }): ProductShape => {
    const parts = Object.entries(names);
    const weights = parts.map(([name, rows]) => ({
      name: `${path}.${name}.weight`,
      shape: [rows, inputs],
    }));
    if (!options.hasBias) return { weights };
    const biases = parts.map(([name, rows]) => ({ name: `${path}.${name}.bias`, shape: [rows] }));
    return { weights, biases };
  };
  const [queries, keys] = [queryHeads * headDim, kvHeads * headDim];
  const qkv = isFused ? { "self_attn.qkv_proj": queries + 2 * keys } : {
    "self_attn.q_proj": queries,
    "self_attn.k_proj": keys,
    "self_attn.v_proj": keys,
  };
  const gateUp = isFused ? { "mlp.gate_up_proj": 2 * intermediateSize } : {
    "mlp.gate_proj": intermediateSize,
    "mlp.up_proj": intermediateSize,
  };
  const { qkvBias = false, outputBias = false, mlpBias = false } = traits;
  const normed = (all: number) => headNorms === "all" ? all : headDim;
  return {
    ...(normsBehind
      ? {
        outputNorm: norm("post_attention_layernorm"),
        downNorm: norm("post_feedforward_layernorm"),
      }
      : { inputNorm: norm("input_layernorm"), mlpNorm: norm("post_attention_layernorm") }),
    qkv: product(qkv, hiddenSize, { hasBias: qkvBias }),
    ...(headNorms === undefined ? {} : {
      queryNorm: norm("self_attn.q_norm", normed(queries)),
      keyNorm: norm("self_attn.k_norm", normed(keys)),
    }),
    ...(traits.hasRope?.(layer) ?? true ? { rope } : {}),
    ...(type === "sliding_attention" && window !== undefined ? { window } : {}),
    output: product({ "self_attn.o_proj": hiddenSize }, queries, { hasBias: outputBias }),
    gateUp: product(gateUp, hiddenSize, { hasBias: mlpBias }),
    down: product({ "mlp.down_proj": hiddenSize }, intermediateSize, { hasBias: mlpBias }),
  };
}

/** Rows of the matrices of a product, by their names. */
type Names = Readonly<Record<string, number>>;

function readHeads(
  config: ConfigReader,
  options: { hiddenSize: number; defaults: DecoderDefaults },
): Pick<ModelShape, "queryHeads" | "kvHeads" | "headDim" | "ownHeadDim"> {
  const { hiddenSize, defaults } = options;
  const queryHeads = config.whole("num_attention_heads", { min: 1, max: MAX_HEADS });
  const kvHeads = config.whole("num_key_value_heads", {
    min: 1,
    max: MAX_HEADS,
    fallback: config.has("num_key_value_heads") ? queryHeads : defaults.kvHeads ?? queryHeads,
  });
  if (queryHeads % kvHeads !== 0) {
    const expected = `a divisor of 'num_attention_heads' ${queryHeads}`;
    throw config.refusal("num_key_value_heads", { expected, found: kvHeads });
  }
  const given = config.value("head_dim") ?? defaults.headDim;
  const found = given ?? hiddenSize / queryHeads;
  const ownHeadDim = typeof found === "number" && found >= 2 && found % 2 === 0 ? found : Infinity;
  const headDim = KERNEL_HEAD_DIMS.find((dim) => ownHeadDim <= dim);
  if (headDim === undefined) {
    const source = given === undefined ? ", or given by 'hidden_size' / 'num_attention_heads'" : "";
    const expected = `an even number from 2 to ${KERNEL_HEAD_DIMS.at(-1)}${source}`;
    throw config.refusal("head_dim", { expected, found });
  }
  return { queryHeads, kvHeads, headDim, ownHeadDim };
}
