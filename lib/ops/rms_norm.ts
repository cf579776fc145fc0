/**
 * RMSNorm (arXiv 1910.07467) with the residual added first: `sx_rms_norm`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `rmsNorm()` reads and writes. */
export interface RmsNormArguments {
  /** [rows, dim] f32 or bf16. */
  readonly out: Tensor;
  /** [rows, dim] f32; written only if `delta` is given. */
  readonly residual: Tensor;
  /** [dim] f32 or bf16. */
  readonly weight: Tensor;
  /** Added to the mean square; at least 0. */
  readonly eps: number;
  /** [rows, dim] f32, added to the residual first. */
  readonly delta?: Tensor | undefined;
}

/**
 * residual += delta; out = residual / sqrt(mean(residual^2) + eps) * weight, per row.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function rmsNorm(device: Device, args: RmsNormArguments): Promise<void> {
  const check = new OpCheck(device, "rmsNorm");
  const { out, residual, weight, eps, delta } = args;
  const [rows, dim] = check.matrix("residual", residual);
  const shape = [rows, dim];
  check.extent(Number.isFinite(eps) && eps >= 0, "'eps' must be finite and at least 0", eps);
  const residualDemand = { dtypes: F32, shape };
  await device.kernels.run("sx_rms_norm", {
    out: check.output("out", out, { dtypes: F32_OR_BF16, shape }),
    outDtype: DTYPE_CODES[out.dtype],
    residual: delta === undefined
      ? check.input("residual", residual, residualDemand)
      : check.output("residual", residual, residualDemand),
    delta: delta === undefined ? 0n : check.input("delta", delta, residualDemand),
    weight: check.input("weight", weight, { dtypes: F32_OR_BF16, shape: [dim] }),
    weightDtype: DTYPE_CODES[weight.dtype],
    rows,
    dim,
    eps,
  }, {
    flops: 4 * residual.size,
    bytes: bytesOf(out, residual, delta),
    shapes: shapesOf({ out, residual, weight, delta }),
  });
}
