/**
 * The input of products with weights of e4m3, rounded to e4m3 where the device multiplies so.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { Fp8Matrix } from "../device/fp8_matrix.ts";
import type { Tensor } from "../device/tensor.ts";
import { quantizeRows } from "../ops/quantize_rows.ts";
import type { Buffers } from "./layer_buffers.ts";
import type { Product } from "./weight_tensors.ts";

/** What is to be multiplied. */
export interface RoundingTask {
  readonly product: Product;
  /** [tokens, inputs]. */
  readonly x: Tensor;
  /** Where the product goes. */
  readonly out: Tensor;
  /** The first row of the weights that is wanted. @default {0} */
  readonly firstRow?: number;
  /** Those of as many tokens. */
  readonly buffers: Pick<Buffers, "codes" | "codeScales">;
}

/**
 * Rounds a product's input.
 *
 * @returns It in e4m3; or as it is: for other weights, on a device that has no such products, of rows so
 * few that they do not pay, or of sizes that they do not take.
 */
export async function roundedInput(
  device: Device,
  task: RoundingTask,
): Promise<Tensor | Fp8Matrix> {
  const { product: { pieces }, x, out, firstRow = 0, buffers: { codes, codeScales } } = task;
  const { fp8Rows } = device;
  const [rows = 0, columns = 0] = x.shape;
  if (fp8Rows === undefined || rows < fp8Rows.least) return x;
  if (!pieces.every((piece) => piece instanceof Fp8Matrix)) return x;
  const extents = [columns, out.rowStride, firstRow, ...pieces.map(({ shape }) => shape[0] ?? 0)];
  if (extents.some((extent) => extent % fp8Rows.multiple !== 0)) return x;
  const matrix = new Fp8Matrix({
    codes: codes.reshape([codes.size]).rows(0, rows * columns).reshape([rows, columns]),
    scales: codeScales,
  });
  await quantizeRows(device, { out: matrix, in: x });
  return matrix;
}
