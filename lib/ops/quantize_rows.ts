/**
 * Rows rounded to 8 bits, each with a scale of its own: `sx_quantize_rows`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Fp8Matrix } from "../device/fp8_matrix.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F8, FLOATS, OpCheck, shapesOf } from "./op_check.ts";

/** What `quantizeRows()` reads and writes. */
export interface QuantizeRowsArguments {
  /** [rows, dim]. */
  readonly out: Fp8Matrix;
  /** [rows, dim] f32, bf16 or f16; rows may lie apart. */
  readonly in: Tensor;
}

/**
 * scales[r] = max over l of |in[r,l]| / 448; codes[r,l] = in[r,l] / scales[r], rounded to nearest even. A
 * row of zeros has scale 0, one with a number that is not finite has scale NaN; both have zeros.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function quantizeRows(device: Device, args: QuantizeRowsArguments): Promise<void> {
  const check = new OpCheck(device, "quantizeRows");
  const { out: { codes, scales }, in: source } = args;
  const [rows, dim] = check.matrix("in", source);
  await device.kernels.run("sx_quantize_rows", {
    out: check.output("out", codes, { dtypes: F8, shape: [rows, dim] }),
    scales: check.output("out's scales", scales, { dtypes: F32, shape: [rows] }),
    in: check.input("in", source, { dtypes: FLOATS, shape: [rows, dim], strided: true }),
    inDtype: DTYPE_CODES[source.dtype],
    rows,
    dim,
    inStride: source.rowStride,
  }, {
    flops: 8 * source.size,
    bytes: bytesOf(codes, scales, source),
    shapes: shapesOf({ out: codes, in: source }),
  });
}
