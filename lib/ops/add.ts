/**
 * Sums of rows, and biases: `sx_add`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { F32, OpCheck, shapesOf } from "./op_check.ts";

/** What `add()` reads and writes. */
export interface AddArguments {
  /** [rows, dim] f32; rows may lie apart. */
  readonly out: Tensor;
  /** [rows, dim] f32, whose rows may lie apart, or [dim] f32, which each row adds. */
  readonly in: Tensor;
}

/**
 * out[r,:] += in[r,:], or in[:] for every row.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function add(device: Device, args: AddArguments): Promise<void> {
  const check = new OpCheck(device, "add");
  const { out, in: summand } = args;
  const [rows, dim] = check.matrix("out", out);
  const isShared = summand.shape.length === 1;
  await device.kernels.run("sx_add", {
    out: check.output("out", out, { dtypes: F32, shape: [rows, dim], strided: true }),
    in: check.input("in", summand, {
      dtypes: F32,
      shape: isShared ? [dim] : [rows, dim],
      strided: true,
    }),
    rows,
    dim,
    outStride: out.rowStride,
    inStride: isShared ? 0 : summand.rowStride,
  }, { flops: rows * dim, bytes: 12 * rows * dim, shapes: shapesOf({ out, in: summand }) });
}
