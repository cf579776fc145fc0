/**
 * A linear layer without bias: `sx_matmul`.
 *
 * @module
 */
import type { Device, OpCall } from "../device/device.ts";
import { Int8Matrix, type Matrix } from "../device/int8_matrix.ts";
import type { Tensor } from "../device/tensor.ts";
import type { MatmulParams } from "../ffi/params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `matmul()` reads and writes. */
export interface MatmulArguments {
  /** [m, n] f32; rows may lie apart; overlaps nothing. */
  readonly out: Tensor;
  /** [m, k] f32, or bf16 unless the weight is f32; rows may lie apart. */
  readonly x: Tensor;
  /** [n, k] f32 or bf16; or in 8 bits, on a CPU: then each row of `x` is rounded to 8 bits, too. */
  readonly weight: Matrix;
  /** Whether the product is added to `out`; by default it overwrites it. */
  readonly accumulate?: boolean;
}

/** A checked product: what the C ops take, and what a call of them costs. */
export interface CheckedProduct {
  readonly params: MatmulParams;
  readonly call: OpCall;
}

/**
 * Checks the tensors of a product.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkProduct(check: OpCheck, args: MatmulArguments): CheckedProduct {
  const { out, x, accumulate = false } = args;
  const [m, k] = check.matrix("x", x);
  const { n, weight, bytes } = checkWeight(check, args);
  return {
    params: {
      out: check.output("out", out, { dtypes: F32, shape: [m, n], strided: true }),
      x: check.input("x", x, { dtypes: F32_OR_BF16, shape: [m, k], strided: true }),
      xDtype: DTYPE_CODES[x.dtype],
      ...weight,
      accumulate: accumulate ? 1 : 0,
      m,
      n,
      k,
      xStride: x.rowStride,
      outStride: out.rowStride,
    },
    call: {
      flops: 2 * m * n * k,
      bytes: bytesOf(out, x) + bytes,
      shapes: shapesOf({ out, x, weight: args.weight }),
    },
  };
}

function checkWeight(
  check: OpCheck,
  { x, weight }: Pick<MatmulArguments, "x" | "weight">,
): {
  readonly n: number;
  readonly weight: Pick<MatmulParams, "weight" | "weightDtype" | "weightScales">;
  readonly bytes: number;
} {
  const [, k] = check.matrix("x", x);
  if (weight instanceof Int8Matrix) {
    const { panels, scales, shape: [n, depth] } = weight;
    check.extent(depth === k, `'weight' must have shape [${n}, ${k}]`, `[${n}, ${depth}]`);
    return {
      n,
      weight: {
        weight: check.input("weight", panels, { dtypes: ["i8"], shape: panels.shape }),
        weightDtype: DTYPE_CODES.i8,
        weightScales: check.input("weight's scales", scales, { dtypes: F32, shape: [n] }),
      },
      bytes: weight.byteLength,
    };
  }
  const [n] = check.matrix("weight", weight);
  // Products of f32 weights with rounded activations exist in no mode.
  const dtypes = x.dtype === "bf16" ? (["bf16"] as const) : F32_OR_BF16;
  return {
    n,
    weight: {
      weight: check.input("weight", weight, { dtypes, shape: [n, k] }),
      weightDtype: DTYPE_CODES[weight.dtype],
      weightScales: 0n,
    },
    bytes: bytesOf(weight),
  };
}

/**
 * out[i,j] (+)= sum over l of x[i,l] * weight[j,l].
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function matmul(device: Device, args: MatmulArguments): Promise<void> {
  const { params, call } = checkProduct(new OpCheck(device, "matmul"), args);
  await device.kernels.multiply(params, call);
}
