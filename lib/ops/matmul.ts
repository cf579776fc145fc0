/**
 * A linear layer without bias: `sx_matmul`.
 *
 * @module
 */
import type { Device, DType, OpCall } from "../device/device.ts";
import { Fp8Matrix } from "../device/fp8_matrix.ts";
import { Int8Matrix, type Matrix } from "../device/int8_matrix.ts";
import type { Tensor } from "../device/tensor.ts";
import type { MatmulParams } from "../ffi/params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, OpCheck, shapesOf } from "./op_check.ts";

/** What `matmul()` reads and writes. */
export interface MatmulArguments {
  /** [m, n] f32, or bf16, to which sums are rounded; rows may lie apart; overlaps nothing. */
  readonly out: Tensor;
  /**
   * [m, k] f32, or bf16 unless the weight is f32; rows may lie apart. Or in e4m3 if the weight is, on a
   * CPU and on a GPU that says so (`fp8Rows`).
   */
  readonly x: Tensor | Fp8Matrix;
  /** [n, k] f32 or bf16; or in e4m3; or in int8, on a CPU: then each row of `x` is rounded to 8 bits, too. */
  readonly weight: Matrix;
  /** Whether the product is added to `out`, which is then f32; by default it overwrites it. */
  readonly accumulate?: boolean;
}

/** A checked product: what the C ops take, and what a call of them costs. */
export interface CheckedProduct {
  readonly params: MatmulParams;
  readonly call: OpCall;
}

/** The weights that meet activations of a dtype: f32 ones with rounded activations exist in no mode. */
const WEIGHT_DTYPES: Readonly<Partial<Record<DType, readonly DType[]>>> = {
  f32: ["f32", "bf16", "f8e4m3"],
  bf16: ["bf16", "f8e4m3"],
  f8e4m3: ["f8e4m3"],
};
const FP8: readonly DType[] = ["f8e4m3"];

/**
 * Checks the tensors of a product.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkProduct(check: OpCheck, args: MatmulArguments): CheckedProduct {
  const { out, accumulate = false, weight } = args;
  const outDtypes = accumulate ? F32 : F32_OR_BF16;
  const isFp8 = args.x instanceof Fp8Matrix;
  const { numbers: x, scales } = args.x instanceof Fp8Matrix
    ? { numbers: args.x.codes, scales: args.x.scales }
    : { numbers: args.x, scales: undefined };
  const [m, k] = check.matrix("x", x);
  const n = weight instanceof Int8Matrix
    ? weight.shape[0]
    : check.matrix("weight", weight instanceof Fp8Matrix ? weight.codes : weight)[0];
  return {
    params: {
      out: check.output("out", out, { dtypes: outDtypes, shape: [m, n], strided: true }),
      outDtype: DTYPE_CODES[out.dtype],
      x: check.input("x", x, { dtypes: isFp8 ? FP8 : F32_OR_BF16, shape: [m, k], strided: true }),
      xDtype: DTYPE_CODES[x.dtype],
      xScales: scales === undefined
        ? 0n
        : check.input("x's scales", scales, { dtypes: F32, shape: [m] }),
      ...checkWeight(check, { x, weight, n }),
      accumulate: accumulate ? 1 : 0,
      m,
      n,
      k,
      xStride: x.rowStride,
      outStride: out.rowStride,
    },
    call: {
      flops: 2 * m * n * k,
      bytes: bytesOf(out, x, scales) + weight.byteLength,
      shapes: shapesOf({ out, x, weight }),
    },
  };
}

function checkWeight(
  check: OpCheck,
  { x, weight, n }: { x: Tensor; weight: Matrix; n: number },
): Pick<MatmulParams, "weight" | "weightDtype" | "weightScales"> {
  const [, k] = check.matrix("x", x);
  const scalesOf = (scales: Tensor) =>
    check.input("weight's scales", scales, { dtypes: F32, shape: [n] });
  if (weight instanceof Int8Matrix) {
    const { panels, scales, shape: [, depth] } = weight;
    check.extent(depth === k, `'weight' must have shape [${n}, ${k}]`, `[${n}, ${depth}]`);
    return {
      weight: check.input("weight", panels, { dtypes: ["i8"], shape: panels.shape }),
      weightDtype: DTYPE_CODES.i8,
      weightScales: scalesOf(scales),
    };
  }
  const numbers = weight instanceof Fp8Matrix ? weight.codes : weight;
  const dtypes = WEIGHT_DTYPES[x.dtype] ?? [];
  return {
    weight: check.input("weight", numbers, { dtypes, shape: [n, k] }),
    weightDtype: DTYPE_CODES[numbers.dtype],
    weightScales: weight instanceof Fp8Matrix ? scalesOf(weight.scales) : 0n,
  };
}

/**
 * out[i,j] (+)= sum over l of x[i,l] * weight[j,l], times the scales of row i of x and of row j of the weight
 * where these have some.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function matmul(device: Device, args: MatmulArguments): Promise<void> {
  const { params, call } = checkProduct(new OpCheck(device, "matmul"), args);
  await device.kernels.multiply(params, call);
}
