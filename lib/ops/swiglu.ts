/**
 * The gated activation of the feed-forward layer (SwiGLU, arXiv 2002.05202): `sx_swiglu`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `swiglu()` reads and writes. */
export interface SwigluArguments {
  /** [rows, dim] f32 or bf16. */
  readonly out: Tensor;
  /** [rows, 2 * dim] f32 or bf16: gate, then up. */
  readonly gateUp: Tensor;
}

/**
 * out[r,c] = silu(gate[r,c]) * up[r,c].
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function swiglu(device: Device, args: SwigluArguments): Promise<void> {
  const check = new OpCheck(device, "swiglu");
  const { out, gateUp } = args;
  const [rows, dim] = check.matrix("out", out);
  await device.kernels.run("sx_swiglu", {
    out: check.output("out", out, { dtypes: F32_OR_BF16, shape: [rows, dim] }),
    outDtype: DTYPE_CODES[out.dtype],
    gateUp: check.input("gateUp", gateUp, { dtypes: F32_OR_BF16, shape: [rows, 2 * dim] }),
    gateUpDtype: DTYPE_CODES[gateUp.dtype],
    rows,
    dim,
    // An exponential and a division cost about 20 operations together.
  }, { flops: 20 * out.size, bytes: bytesOf(out, gateUp), shapes: shapesOf({ out, gateUp }) });
}
