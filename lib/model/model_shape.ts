/**
 * A model as data: its sizes, its layers, and the parts of each with the weights that they take.
 *
 * Families (`lib/model/families/`) make it of a `config.json`; loading, fusing, memory plans and the
 * forward pass follow it and know no family.
 *
 * @module
 */
import type { EightBits } from "./precision.ts";
import type { RopeShape } from "./rope_frequencies.ts";

/** A weight's name in the file and its shape; a matrix is [outputs, inputs]. */
export interface WeightSpec {
  /** As the file of weights has it. */
  readonly name: string;
  /** Its extents. */
  readonly shape: readonly number[];
  /** What the values are multiplied by when they are loaded. @default {1} */
  readonly scale?: number;
}

/** A matrix product: [outputs, inputs], made of tensors whose rows follow each other. */
export interface ProductShape {
  /** One matrix, or several of the same input, for example queries, keys and values. */
  readonly weights: readonly WeightSpec[];
  /** Vectors that are added to the outputs, one behind the other; none by default. */
  readonly biases?: readonly WeightSpec[];
}

/**
 * One layer: attention, then the feed-forward part. A norm that is absent is not computed.
 *
 * The residual stream gets `outputNorm(output(attention))`, then `downNorm(down(feed-forward))`.
 */
export interface LayerShape {
  /** [hidden], over the input of the attention. */
  readonly inputNorm?: WeightSpec;
  /** Queries, keys and values: [(q_heads + 2 * kv_heads) * head_dim, hidden]. */
  readonly qkv: ProductShape;
  /** Over each query head, [head_dim], or over all of them, [q_heads * head_dim]. */
  readonly queryNorm?: WeightSpec;
  /** Over each key head, [head_dim], or over all of them, [kv_heads * head_dim]. */
  readonly keyNorm?: WeightSpec;
  /** Which of the model's rotations turns queries and keys; none if absent. */
  readonly rope?: number;
  /** A query sees so many keys, its own included; all before it if absent. */
  readonly window?: number;
  /** [hidden, q_heads * head_dim]. */
  readonly output: ProductShape;
  /** [hidden], over what the attention gives. */
  readonly outputNorm?: WeightSpec;
  /** [hidden], over the input of the feed-forward part. */
  readonly mlpNorm?: WeightSpec;
  /** Gate, then up: [2 * intermediate, hidden]. */
  readonly gateUp: ProductShape;
  /** [hidden, intermediate]. */
  readonly down: ProductShape;
  /** [hidden], over what the feed-forward part gives. */
  readonly downNorm?: WeightSpec;
}

/** A layer's weights, in the order in which they are loaded. */
export const LAYER_PARTS = [
  ...["inputNorm", "qkv", "queryNorm", "keyNorm", "output", "outputNorm"],
  ...["mlpNorm", "gateUp", "down", "downNorm"],
] as const satisfies readonly (keyof LayerShape)[];

/** A part of a layer that has weights. */
export type LayerPart = typeof LAYER_PARTS[number];

/** A model. Every size is a checked whole number above 0. */
export interface ModelShape {
  /** As transformers names it: `model_type`. */
  readonly family: string;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Width of the feed-forward part. */
  readonly intermediateSize: number;
  /** Number of layers. */
  readonly layerCount: number;
  /** Query heads of a layer. */
  readonly queryHeads: number;
  /** A divisor of `queryHeads`. */
  readonly kvHeads: number;
  /** Of queries and cached keys and values, as kernels take them: 64 or 128. */
  readonly headDim: number;
  /** As the weights have it; need not be `hiddenSize / queryHeads`. Behind it are zeros. */
  readonly ownHeadDim: number;
  /** Tokens of the vocabulary: rows of embedding and head. */
  readonly vocabularySize: number;
  /** Positions that the model was made for: tokens of a prompt with its answer, at most. */
  readonly maxPositions: number;
  /** Added to the mean square by norms of anything but the residual stream. */
  readonly normEps: number;
  /** The same by norms of the residual stream, which may be smaller by a factor. */
  readonly residualEps: number;
  /** Factor of the products of queries and keys. */
  readonly attentionScale: number;
  /** Factor of the embedding's rows. */
  readonly embeddingScale: number;
  /** The rotations that layers name by their number here. */
  readonly ropes: readonly RopeShape[];
  /** [vocabulary, hidden]. */
  readonly embedding: WeightSpec;
  /** The layers, from the first one on. */
  readonly layers: readonly LayerShape[];
  /** [hidden], over what the last layer leaves. */
  readonly norm: WeightSpec;
  /** [vocabulary, hidden]; the embedding where the two are tied. */
  readonly head: WeightSpec;
  /** How the files have matrices of layers, if not in floats. */
  readonly storedWeights?: EightBits;
  /** The names of those that they have in floats nevertheless, where that is known: of e4m3. */
  readonly floatWeights?: readonly string[];
  /** What a text begins with; undefined where the configuration names none. */
  readonly bosTokenId: number | undefined;
  /** Empty when the configuration names none. */
  readonly eosTokenIds: readonly number[];
  /** What is unusual about the configuration and does not stop a run. */
  readonly warnings: readonly string[];
}

/** Whether the head is the embedding. */
export function isTied(model: Pick<ModelShape, "embedding" | "head">): boolean {
  return model.head.name === model.embedding.name;
}

/** The window of each layer; 0 for one that sees everything. */
export function windowsOf(model: Pick<ModelShape, "layers">): (layer: number) => number {
  return (layer) => model.layers[layer]?.window ?? 0;
}

/** Layers that keep the same keys of a sequence: those with the same window, or with none. */
export interface LayerPool {
  /** 0 for none. */
  readonly window: number;
  /** Their numbers, in rising order. */
  readonly layers: readonly number[];
}

/** The pools of a model's layers, by their windows. */
export function layerPools(model: Pick<ModelShape, "layers">): readonly LayerPool[] {
  const windowOf = windowsOf(model);
  const numbers = model.layers.map((_, layer) => layer);
  return [...new Set(numbers.map(windowOf))].sort((a, b) => a - b).map((window) => ({
    window,
    layers: numbers.filter((layer) => windowOf(layer) === window),
  }));
}

/** Which of the model's pools has a layer. */
export function poolNumbers(model: Pick<ModelShape, "layers">): (layer: number) => number {
  const numbers: number[] = [];
  for (const [pool, { layers }] of layerPools(model).entries()) {
    for (const layer of layers) numbers[layer] = pool;
  }
  return (layer) => numbers[layer] ?? 0;
}

/** Elements of a weight. */
export function elementCount({ shape }: WeightSpec): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** All weights of a layer, in the order in which they are loaded. */
export function layerWeights(layer: LayerShape): WeightSpec[] {
  return LAYER_PARTS.flatMap((part) => {
    const shape = layer[part];
    if (shape === undefined) return [];
    return "weights" in shape ? [...shape.weights, ...shape.biases ?? []] : [shape];
  });
}

/** The products of a layer, in the order in which they are loaded. */
export function productShapes(layer: LayerShape): ProductShape[] {
  return LAYER_PARTS.flatMap((part) => {
    const shape = layer[part];
    return shape !== undefined && "weights" in shape ? [shape] : [];
  });
}

/** All weights that a model's files must hold, each once. */
export function allWeights(model: ModelShape): WeightSpec[] {
  return stageWeights(model, { firstLayer: 0, endLayer: model.layerCount });
}

/**
 * The weights that some consecutive layers need on their device: with the first layer the embedding,
 * with the last one norm and head. A tied head lies on the last layer's device, too.
 */
export function stageWeights(
  model: ModelShape,
  range: { readonly firstLayer: number; readonly endLayer: number },
): WeightSpec[] {
  const { firstLayer, endLayer } = range;
  const isFirst = firstLayer === 0;
  const layers = model.layers.slice(firstLayer, endLayer).flatMap(layerWeights);
  const ending = endLayer < model.layerCount
    ? []
    : isFirst && isTied(model)
    ? [model.norm]
    : [model.norm, model.head];
  return [...(isFirst ? [model.embedding] : []), ...layers, ...ending];
}
