/**
 * What numbers are rounded to: activations, weights, and cached keys and values.
 *
 * @module
 */

/** A dtype that can be computed with. */
export type ComputeDType = "bf16" | "f32";

/** All of them. */
export const COMPUTE_DTYPES = ["bf16", "f32"] as const satisfies readonly ComputeDType[];

/**
 * What the matrices of layers are rounded to. `int8`: 8 bits and a scale for each row; products then
 * round each row of activations to 8 bits, too, and add in whole numbers. A CPU has it.
 */
export type WeightKind = ComputeDType | "int8";

/** All of them. */
export const WEIGHT_KINDS = ["bf16", "f32", "int8"] as const satisfies readonly WeightKind[];

/** What numbers are rounded to. Sums and the residual stream are f32 whatever this says. */
export interface Precision {
  /** The inputs of matrix products. */
  readonly activations: ComputeDType;
  /**
   * Weights; bf16 ones stay so in their file, as f32 arithmetic widens them exactly. With `int8`
   * embeddings, norms and head are of the type of activations.
   */
  readonly weights: WeightKind;
  /** `int8` has the head in 8 bits, too. */
  readonly head?: "int8" | undefined;
  /** Keys and values. */
  readonly cache: ComputeDType;
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
  return weights === "int8" ? activations : weights;
}

/** What is asked for of weights besides the precision. */
export interface WeightWish {
  /** Undefined for what the precision says, or what the files have in 8 bits. */
  readonly weights?: "bf16" | "int8" | undefined;
  readonly head?: "bf16" | "int8" | undefined;
}

/**
 * The precision of a model's weights.
 *
 * @param stored Whether its files have them in 8 bits, which are then taken as they are.
 */
export function withWeights(
  precision: Precision,
  options: { wish: WeightWish; stored: boolean },
): Precision {
  const { wish, stored } = options;
  const { activations } = precision;
  const kept = stored ? "int8" : precision.weights;
  // Whoever asks for bf16 where numbers are f32 gets what 8 bits are widened to.
  const weights = wish.weights === "bf16" ? activations : wish.weights ?? kept;
  const head = wish.head ?? precision.head;
  return { ...precision, weights, head: head === "int8" ? head : undefined };
}
