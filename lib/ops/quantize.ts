/**
 * Weights rounded to 8 bits, row by row: `sx_quantize`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Int8Matrix } from "../device/int8_matrix.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, FLOATS, OpCheck, shapesOf } from "./op_check.ts";

/** What `quantize()` reads and writes. */
export interface QuantizeArguments {
  /** [n, k]. */
  readonly out: Int8Matrix;
  /**
   * [n, k] f32, bf16 or f16; or i8, numbers that are taken as they are: then the caller writes the scales
   * of `out`.
   */
  readonly in: Tensor;
}

/**
 * scale = max |row| / 127, number = row / scale rounded to nearest even; a row of zeros has scale 0.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function quantize(device: Device, args: QuantizeArguments): Promise<void> {
  const check = new OpCheck(device, "quantize");
  const { out: { panels, scales, shape }, in: source } = args;
  const [n, k] = shape;
  const dtypes = [...FLOATS, "i8"] as const;
  const address = check.output("scales", scales, { dtypes: F32, shape: [n] });
  await device.kernels.run("sx_quantize", {
    out: check.output("out", panels, { dtypes: ["i8"], shape: panels.shape }),
    scales: source.dtype === "i8" ? 0n : address,
    in: check.input("in", source, { dtypes, shape }),
    inDtype: DTYPE_CODES[source.dtype],
    n,
    k,
  }, {
    flops: 2 * n * k,
    bytes: bytesOf(panels, scales, source),
    shapes: shapesOf({ out: panels, in: source }),
  });
}
