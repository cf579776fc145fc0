/**
 * A linear layer for the rows of a decode step: `sx_matmul_rows`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { checkProduct, type MatmulArguments } from "./matmul.ts";
import { OpCheck } from "./op_check.ts";

/**
 * As `matmul()`, for few rows: a row of `out` is bit for bit the same whatever the number of rows and
 * whatever its place among them. Bound by reading the weights, once for up to 64 rows. A GPU reads them
 * while other ops of a decode step in front still run: none of those may write them.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function matmulRows(device: Device, args: MatmulArguments): Promise<void> {
  const { params, call } = checkProduct(new OpCheck(device, "matmulRows"), args);
  await device.kernels.run("sx_matmul_rows", { product: params }, call);
}
