/**
 * RMSNorm of the heads of each row, in place: `sx_head_norm`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `headNorm()` reads and writes. */
export interface HeadNormArguments {
  /** [rows, heads * dim] f32; rows may lie apart. */
  readonly x: Tensor;
  /** [dim] f32 or bf16. */
  readonly weight: Tensor;
  /** Added to the mean square; at least 0. */
  readonly eps: number;
}

/**
 * x[r,h,:] = x[r,h,:] / sqrt(mean(x[r,h,:]^2) + eps) * weight, for as many heads as a row has.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If a row is not whole heads.
 */
export async function headNorm(device: Device, args: HeadNormArguments): Promise<void> {
  const check = new OpCheck(device, "headNorm");
  const { x, weight, eps } = args;
  const [rows, width] = check.matrix("x", x);
  const dim = check.vector("weight", weight);
  check.extent(dim > 0 && width % dim === 0, `rows must be whole heads of ${dim}`, width);
  check.extent(Number.isFinite(eps) && eps >= 0, "'eps' must be finite and at least 0", eps);
  await device.kernels.run("sx_head_norm", {
    x: check.output("x", x, { dtypes: F32, shape: [rows, width], strided: true }),
    weight: check.input("weight", weight, { dtypes: F32_OR_BF16, shape: [dim] }),
    weightDtype: DTYPE_CODES[weight.dtype],
    rows,
    heads: width / dim,
    dim,
    rowStride: x.rowStride,
    eps,
  }, { flops: 4 * rows * width, bytes: 8 * rows * width, shapes: shapesOf({ x, weight }) });
}
