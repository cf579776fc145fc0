/**
 * What numbers are rounded to: activations, weights, and cached keys and values.
 *
 * @module
 */

/** A dtype that can be computed with. */
export type ComputeDType = "bf16" | "f32";

/** All of them. */
export const COMPUTE_DTYPES = ["bf16", "f32"] as const satisfies readonly ComputeDType[];

/** What numbers are rounded to. Sums and the residual stream are f32 whatever this says. */
export interface Precision {
  /** The inputs of matrix products. */
  readonly activations: ComputeDType;
  /** Weights; bf16 ones stay so in their file, as f32 arithmetic widens them exactly. */
  readonly weights: ComputeDType;
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
