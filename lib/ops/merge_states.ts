/**
 * Merges partial attentions over disjoint keys (Star Attention, arXiv 2411.17116, section 2.2):
 * `sx_merge_states`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `mergeStates()` reads and writes. */
export interface MergeStatesArguments {
  /** [tokens, heads, head_dim] f32 or bf16. */
  readonly out: Tensor;
  /**
   * [part_count, part_stride] f32; a row holds out [tokens, heads, head_dim], then lse_log2
   * [tokens, heads], then score [heads], and may be longer: at least `partElements()`.
   */
  readonly parts: Tensor;
  /** False: weights from log-sum-exp. True: softmax of the parts' scores, for every token. */
  readonly byScore: boolean;
  readonly tokens: number;
  readonly heads: number;
  readonly headDim: number;
}

/** The f32 numbers of one part. */
export function partElements(sizes: { tokens: number; heads: number; headDim: number }): number {
  const { tokens, heads, headDim } = sizes;
  return tokens * heads * (headDim + 1) + heads;
}

/**
 * Merges the parts in their order; a token without any key gives zeros.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function mergeStates(device: Device, args: MergeStatesArguments): Promise<void> {
  const check = new OpCheck(device, "mergeStates");
  const { out, parts, byScore, tokens, heads, headDim } = args;
  check.integer("tokens", tokens, { min: 0 });
  check.integer("heads", heads, { min: 1 });
  check.integer("headDim", headDim, { min: 1 });
  const [partCount, length] = check.matrix("parts", parts);
  const needed = partElements(args);
  check.extent(length >= needed, `a row of 'parts' must have at least ${needed} numbers`, length);
  await device.kernels.run("sx_merge_states", {
    out: check.output("out", out, { dtypes: F32_OR_BF16, shape: [tokens, heads, headDim] }),
    outDtype: DTYPE_CODES[out.dtype],
    parts: check.input("parts", parts, { dtypes: F32, shape: [partCount, length], strided: true }),
    byScore: byScore ? 1 : 0,
    partCount,
    partStride: parts.rowStride,
    tokens,
    heads,
    headDim,
  }, {
    flops: 3 * partCount * out.size,
    bytes: bytesOf(out) + 4 * partCount * needed,
    shapes: shapesOf({ out, parts }),
  });
}
