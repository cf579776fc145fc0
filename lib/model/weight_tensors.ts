/**
 * A model's weights as the forward pass takes them, and their places in one piece of memory.
 *
 * @module
 */
import type { DType } from "../device/device.ts";
import { Fp8Matrix, type Fp8MatrixOptions, fp8Parts } from "../device/fp8_matrix.ts";
import {
  Int8Matrix,
  type Int8MatrixOptions,
  int8Parts,
  type Matrix,
} from "../device/int8_matrix.ts";
import type { Tensor, TensorOptions } from "../device/tensor.ts";
import type { Workspace } from "../device/workspace.ts";
import {
  elementCount,
  LAYER_PARTS,
  type LayerPart,
  type LayerShape,
  type ProductShape,
  type WeightSpec,
} from "./model_shape.ts";

/** A matrix product's weights. */
export interface Product {
  /** Matrices whose rows follow each other: one where they lie so, else one for each tensor. */
  readonly pieces: readonly Matrix[];
  /** [outputs] f32, added to them. */
  readonly bias?: Tensor | undefined;
}

/** One layer's weights: a vector for each norm, a product for each matrix of its shape. */
export type LayerWeights = {
  readonly [K in LayerPart]: LayerShape[K] extends ProductShape ? Product : Tensor | undefined;
};

/** All weights of a model. Disposal frees the memory that is theirs and unmaps the files. */
export interface ModelWeights extends Disposable {
  /** [vocabulary, hidden]. */
  readonly embedding: Tensor;
  readonly layers: readonly LayerWeights[];
  /** [hidden]. */
  readonly norm: Tensor;
  /** [vocabulary, hidden]; the embedding itself where the two are tied. */
  readonly head: Matrix;
}

/** Makes the weights of a layer's parts. */
export interface PartMaker {
  readonly vector: (spec: WeightSpec) => Promise<Tensor>;
  readonly product: (shape: ProductShape) => Promise<Product>;
}

/** Makes a layer's weights, part by part in the order of the shape. */
export async function makeLayer(layer: LayerShape, maker: PartMaker): Promise<LayerWeights> {
  const parts: [string, Tensor | Product][] = [];
  for (const part of LAYER_PARTS) {
    const shape = layer[part];
    if (shape === undefined) continue;
    const made = "weights" in shape ? await maker.product(shape) : await maker.vector(shape);
    parts.push([part, made]);
  }
  // The shape's parts have the names and kinds of the weights'.
  return Object.fromEntries(parts) as LayerWeights;
}

/** Where a product's weights go. */
export interface ProductPlace {
  readonly arena: Workspace;
  readonly dtype: DType;
  /** Whether matrices of the same input lie together, for one product instead of several. */
  readonly fused: boolean;
}

/** The matrices of a product in an arena that has room for its tensors; `parts` are the places of the file's. */
export function takeProduct(
  shape: ProductShape,
  place: ProductPlace,
): { readonly pieces: readonly Tensor[]; readonly parts: readonly Tensor[] } {
  const { arena, dtype, fused } = place;
  const { weights } = shape;
  if (!fused || weights.length < 2) {
    const parts = weights.map((spec) => arena.take({ dtype, shape: spec.shape, label: spec.name }));
    return { pieces: parts, parts };
  }
  const rows = weights.map(({ shape }) => shape[0] ?? 0);
  const total = rows.reduce((sum, count) => sum + count, 0);
  const label = weights.map(({ name }) => name).join(" + ");
  const whole = arena.take({ dtype, shape: [total, weights[0]?.shape[1] ?? 0], label });
  let start = 0;
  const parts = rows.map((count) => {
    start += count;
    return whole.rows(start - count, count);
  });
  return { pieces: [whole], parts };
}

/** A matrix in 8 bits in an arena that has room for its tensors. */
export function takeInt8(arena: Workspace, options: Int8MatrixOptions): Int8Matrix {
  const { panels, scales } = int8Parts(options);
  const parts = { panels: arena.take(panels), scales: arena.take(scales) };
  return new Int8Matrix({ shape: options.shape, ...parts });
}

/** A matrix in e4m3 in an arena that has room for its tensors. */
export function takeFp8(arena: Workspace, options: Fp8MatrixOptions): Fp8Matrix {
  const { codes, scales } = fp8Parts(options);
  return new Fp8Matrix({ codes: arena.take(codes), scales: arena.take(scales) });
}

/** The place of some vectors that lie one behind the other: [sum of their sizes] f32. */
export function biasOptions(specs: readonly WeightSpec[]): TensorOptions {
  const size = specs.reduce((sum, spec) => sum + elementCount(spec), 0);
  return { dtype: "f32", shape: [size], label: specs.map(({ name }) => name).join(" + ") };
}

/** The parts of such a place. */
export function splitBias(bias: Tensor, specs: readonly WeightSpec[]): Tensor[] {
  let start = 0;
  return specs.map((spec) => {
    start += elementCount(spec);
    return bias.rows(start - elementCount(spec), elementCount(spec));
  });
}
