/**
 * A linear layer without bias: `sx_matmul`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `matmul()` reads and writes. */
export interface MatmulArguments {
  /** [m, n] f32; rows may lie apart; overlaps nothing. */
  readonly out: Tensor;
  /** [m, k] f32, or bf16 if the weight is; rows may lie apart. */
  readonly x: Tensor;
  /** [n, k] f32 or bf16. */
  readonly weight: Tensor;
  /** Whether the product is added to `out`; by default it overwrites it. */
  readonly accumulate?: boolean;
}

/**
 * out[i,j] (+)= sum over l of x[i,l] * weight[j,l].
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function matmul(device: Device, args: MatmulArguments): Promise<void> {
  const check = new OpCheck(device, "matmul");
  const { out, x, weight, accumulate = false } = args;
  const [m, k] = check.matrix("x", x);
  const [n] = check.matrix("weight", weight);
  // Products of f32 weights with rounded activations exist in no mode.
  const weightDtypes = x.dtype === "bf16" ? (["bf16"] as const) : F32_OR_BF16;
  await device.kernels.multiply({
    out: check.output("out", out, { dtypes: F32, shape: [m, n], strided: true }),
    x: check.input("x", x, { dtypes: F32_OR_BF16, shape: [m, k], strided: true }),
    xDtype: DTYPE_CODES[x.dtype],
    weight: check.input("weight", weight, { dtypes: weightDtypes, shape: [n, k] }),
    weightDtype: DTYPE_CODES[weight.dtype],
    accumulate: accumulate ? 1 : 0,
    m,
    n,
    k,
    xStride: x.rowStride,
    outStride: out.rowStride,
  }, {
    flops: 2 * m * n * k,
    bytes: bytesOf(out, x, weight),
    shapes: shapesOf({ out, x, weight }),
  });
}

/**
 * As `matmul()` for a few rows of different sequences: the bits of a row depend neither on the other
 * rows nor on how many there are, so that a sequence decodes alike in whatever company.
 */
export async function matmulRows(device: Device, args: MatmulArguments): Promise<void> {
  const { out, x } = args;
  const [rows = 0] = x.shape;
  for (let row = 0; row < rows; row++) {
    await matmul(device, { ...args, out: out.rows(row, 1), x: x.rows(row, 1) });
  }
}
