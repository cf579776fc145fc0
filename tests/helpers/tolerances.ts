/**
 * How far a kernel may be from its scalar twin, and why.
 *
 * @module
 */
import type { Tolerance, Tolerances } from "./compare.ts";

/** Copies, selections and conversions: the same bits. */
export const EXACT: Tolerance = { absolute: 0, relative: 0, cosine: 0 };

/**
 * Numbers near 1 that are sums of some hundred f32 products: another order of the sum moves them by
 * about sqrt(terms) times 2^-24 of their size, and the vectorised exponential by some 1e-7.
 */
export const F32_SUMS: Tolerance = { absolute: 2e-5, relative: 2e-5, cosine: 1e-9 };

/**
 * Results rounded to bf16: two f32 numbers that differ in the last bit may fall on both sides of a
 * rounding boundary, one bf16 step apart, which is at most 2^-7 of the number.
 */
export const BF16_STEP: Tolerance = { absolute: 2e-5, relative: 2 ** -7, cosine: 1e-5 };

/**
 * Attention on a machine that multiplies bf16 (AVX-512 bf16): queries and softmax weights are
 * rounded to bf16, each by at most 2^-9 of itself, before they meet bf16 keys and values.
 */
export const BF16_INPUTS: Tolerance = { absolute: 1e-2, relative: 1e-2, cosine: 1e-4 };

/**
 * Attention on a GPU: queries, keys and values are the twin's, but softmax weights are rounded to
 * bf16 before they meet the values. Logits are f32 sums of exact products, in which tensor cores drop
 * bits below 2^-23 of the largest term, so that the log-sum-exp is known to some 1e-5.
 */
export const GPU_ATTENTION: Tolerances = {
  byDtype: { f32: BF16_INPUTS, bf16: BF16_INPUTS },
  byName: { lse: { absolute: 1e-4, relative: 2e-5, cosine: 1e-9 } },
};
