/**
 * A sum of all words, by which reading alone is timed: `sx_word_sum`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { bytesOf, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `wordSum()` reads and writes. */
export interface WordSumArguments {
  /** [1] i32. */
  readonly out: Tensor;
  /** Contiguous, of any dtype and shape, of whole words of 4 bytes. */
  readonly in: Tensor;
}

/**
 * out = the sum of the 4-byte words of `in`, modulo 2^32.
 *
 * @throws {TypeError} If a dtype or rank is wrong, rows lie apart or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or there is half a word.
 */
export async function wordSum(device: Device, args: WordSumArguments): Promise<void> {
  const check = new OpCheck(device, "wordSum");
  const { out, in: source } = args;
  const bytes = source.size * DTYPE_BYTES[source.dtype];
  check.extent(bytes % 4 === 0, "'in' must have whole words of 4 bytes", bytes);
  await device.kernels.run("sx_word_sum", {
    out: check.output("out", out, { dtypes: I32, shape: [1] }),
    in: check.input("in", source, { dtypes: [source.dtype], shape: source.shape }),
    bytes,
  }, { flops: 0, bytes: bytesOf(source), shapes: shapesOf({ out, in: source }) });
}
