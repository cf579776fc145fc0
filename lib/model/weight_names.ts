/**
 * The names and shapes of a Llama model's weights, as transformers' `LlamaForCausalLM` stores them.
 *
 * @module
 */
import type { LlamaConfig } from "./config.ts";

/** A weight's name in the file and its shape; a matrix is [outputs, inputs]. */
export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

/** The weights of one layer, by their part in the computation. */
export type LayerPart =
  | "inputNorm"
  | "qProj"
  | "kProj"
  | "vProj"
  | "oProj"
  | "postAttentionNorm"
  | "gateProj"
  | "upProj"
  | "downProj";

/** The weights outside of the layers. `head` is the embedding where the two are tied. */
export type ModelPart = "embedding" | "norm" | "head";

/**
 * The weights outside of the layers.
 *
 * @param config The model's shape.
 */
export function modelWeightSpecs(config: LlamaConfig): Readonly<Record<ModelPart, WeightSpec>> {
  const { hiddenSize, vocabularySize, tiedEmbeddings } = config;
  const table = [vocabularySize, hiddenSize];
  const embedding = { name: "model.embed_tokens.weight", shape: table };
  return {
    embedding,
    norm: { name: "model.norm.weight", shape: [hiddenSize] },
    head: tiedEmbeddings ? embedding : { name: "lm_head.weight", shape: table },
  };
}

/**
 * The weights of a layer.
 *
 * @param config The model's shape.
 * @param layer Counted from 0.
 */
export function layerWeightSpecs(
  config: LlamaConfig,
  layer: number,
): Readonly<Record<LayerPart, WeightSpec>> {
  const { hiddenSize, intermediateSize, headDim } = config;
  const queryDim = config.queryHeads * headDim;
  const kvDim = config.kvHeads * headDim;
  const spec = (name: string, ...shape: number[]) => ({
    name: `model.layers.${layer}.${name}.weight`,
    shape,
  });
  return {
    inputNorm: spec("input_layernorm", hiddenSize),
    qProj: spec("self_attn.q_proj", queryDim, hiddenSize),
    kProj: spec("self_attn.k_proj", kvDim, hiddenSize),
    vProj: spec("self_attn.v_proj", kvDim, hiddenSize),
    oProj: spec("self_attn.o_proj", hiddenSize, queryDim),
    postAttentionNorm: spec("post_attention_layernorm", hiddenSize),
    gateProj: spec("mlp.gate_proj", intermediateSize, hiddenSize),
    upProj: spec("mlp.up_proj", intermediateSize, hiddenSize),
    downProj: spec("mlp.down_proj", hiddenSize, intermediateSize),
  };
}

/**
 * All weights that a model's files must hold, each once.
 *
 * @param config The model's shape.
 */
export function allWeightSpecs(config: LlamaConfig): WeightSpec[] {
  return stageWeightSpecs(config, { firstLayer: 0, endLayer: config.layerCount });
}

/**
 * The weights that some consecutive layers need on their device: with the first layer the embedding,
 * with the last one norm and head. A tied head lies on the last layer's device, too.
 *
 * @param config The model's shape.
 */
export function stageWeightSpecs(
  config: LlamaConfig,
  range: { readonly firstLayer: number; readonly endLayer: number },
): WeightSpec[] {
  const { firstLayer, endLayer } = range;
  const { embedding, norm, head } = modelWeightSpecs(config);
  const isFirst = firstLayer === 0;
  const layers = Array.from(
    { length: endLayer - firstLayer },
    (_, i) => Object.values(layerWeightSpecs(config, firstLayer + i)),
  );
  const ending = endLayer < config.layerCount
    ? []
    : isFirst && head === embedding
    ? [norm]
    : [norm, head];
  return [...(isFirst ? [embedding] : []), ...layers.flat(), ...ending];
}
