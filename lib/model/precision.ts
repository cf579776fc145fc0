/**
 * What numbers are rounded to: activations, weights, and cached keys and values.
 *
 * @module
 */

import type { KvDType } from "../device/kv_segment.ts";

/** A dtype that can be computed with. */
export type ComputeDType = "bf16" | "f32";

/** All of them. */
export const COMPUTE_DTYPES = ["bf16", "f32"] as const satisfies readonly ComputeDType[];

/**
 * Weights of 8 bits and a scale for each row. `int8`: products round each row of activations to 8 bits,
 * too, and add in whole numbers; a CPU has it. `fp8`: e4m3; a Hopper GPU rounds rows of activations
 * to e4m3, too, where there are many; with few rows, and on a CPU, they stay as they are.
 */
export type EightBits = "int8" | "fp8";

/** All of them. */
export const EIGHT_BITS = ["int8", "fp8"] as const satisfies readonly EightBits[];

/** Whether weights have 8 bits. */
export function isEightBits(kind: string | undefined): kind is EightBits {
  return kind === "int8" || kind === "fp8";
}

/** What the matrices of layers are rounded to. */
export type WeightKind = ComputeDType | EightBits;

/** All of them. */
export const WEIGHT_KINDS = ["bf16", "f32", ...EIGHT_BITS] as const satisfies readonly WeightKind[];

/** What keys and values are rounded to; of 8 bits each row of a head has a scale. */
export type CacheKind = ComputeDType | EightBits;

/** All of them. */
export const CACHE_KINDS = ["bf16", "f32", ...EIGHT_BITS] as const satisfies readonly CacheKind[];

/** What numbers are rounded to. Sums and the residual stream are f32 whatever this says. */
export interface Precision {
  /** The inputs of matrix products. */
  readonly activations: ComputeDType;
  /**
   * Weights; bf16 ones stay so in their file, as f32 arithmetic widens them exactly. With 8 bits
   * embeddings, norms and head are of the type of activations.
   */
  readonly weights: WeightKind;
  /** Of 8 bits: the head, too. */
  readonly head?: EightBits | undefined;
  /** Keys and values. */
  readonly cache: CacheKind;
}

/** The precisions of `--dtype`. */
export const PRECISIONS = {
  bf16: { activations: "bf16", weights: "bf16", cache: "bf16" },
  f32: { activations: "f32", weights: "f32", cache: "f32" },
} as const satisfies Record<ComputeDType, Precision>;

/** A precision by its name, or as it is. */
export function precisionOf(precision: ComputeDType | Precision): Precision {
  return typeof precision === "string" ? PRECISIONS[precision] : precision;
}

/** The dtype that takes most of the three. */
export function widest({ activations, weights, cache }: Precision): ComputeDType {
  return [activations, weights, cache].includes("f32") ? "f32" : "bf16";
}

/** The dtype of weights that are not rounded to 8 bits. */
export function plainWeights({ activations, weights }: Precision): ComputeDType {
  return isEightBits(weights) ? activations : weights;
}

/** How keys and values are kept. */
export interface KvFormat {
  /** The dtype of the cache. */
  readonly dtype: KvDType;
  /** The dtype in which prefill reads them; the cache's, unless that has 8 bits. */
  readonly readDtype: ComputeDType;
}

/** How a precision keeps keys and values. */
export function kvFormat({ activations, cache }: Precision): KvFormat {
  const isEight = isEightBits(cache);
  if (!isEight) return { dtype: cache, readDtype: cache };
  return { dtype: cache === "int8" ? "i8" : "f8e4m3", readDtype: activations };
}

/** Whether any weights have 8 bits. */
export function hasEightBits({ weights, head }: Pick<Precision, "weights" | "head">): boolean {
  return isEightBits(weights) || isEightBits(head);
}

/** What is asked for of weights, keys and values besides the precision. */
export interface WeightWish {
  /** Undefined for what the precision says, or what the files have in 8 bits. */
  readonly weights?: "bf16" | EightBits | undefined;
  readonly head?: "bf16" | EightBits | undefined;
  /** Keys and values; undefined for what the precision says. */
  readonly cache?: "bf16" | EightBits | undefined;
}

/**
 * The precision of a model's weights, keys and values.
 *
 * @param stored What its files have of 8 bits, which is then taken as it is.
 */
export function withWeights(
  precision: Precision,
  options: { wish: WeightWish; stored: EightBits | undefined },
): Precision {
  const { wish, stored } = options;
  const { activations } = precision;
  const kept = stored ?? precision.weights;
  // Whoever asks for bf16 where numbers are f32 gets what 8 bits are widened to.
  const weights = wish.weights === "bf16" ? activations : wish.weights ?? kept;
  const head = wish.head ?? precision.head;
  const cache = wish.cache ?? precision.cache;
  return { ...precision, weights, head: isEightBits(head) ? head : undefined, cache };
}
