/**
 * Copies on the device, with and without conversion: `sx_copy` and `sx_convert`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, FLOATS, OpCheck, shapesOf } from "./op_check.ts";

/** What `copy()` and `convert()` read and write. */
export interface CopyArguments {
  /** Of the shape of `in`; does not overlap it. `copy()` takes rows that lie apart. */
  readonly out: Tensor;
  readonly in: Tensor;
}

/**
 * out = in, both of one dtype.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit or the tensors overlap.
 */
export async function copy(device: Device, args: CopyArguments): Promise<void> {
  const check = new OpCheck(device, "copy");
  const { out, in: source } = args;
  const demand = { dtypes: [source.dtype], shape: source.shape, strided: true };
  const target = check.output("out", out, demand);
  const origin = check.input("in", source, demand);
  checkApart(check, args);
  const [rows = 0] = source.shape;
  const isWhole = out.contiguous && source.contiguous;
  const strideOf = (tensor: Tensor) => tensor.rowStride * DTYPE_BYTES[source.dtype];
  const rowBytes = rows === 0 ? 0 : source.byteLength / rows;
  const layout = isWhole
    ? { rows: 1, outStride: source.byteLength, inStride: source.byteLength }
    : { rows, outStride: strideOf(out), inStride: strideOf(source) };
  await device.kernels.run("sx_copy", {
    out: target,
    in: origin,
    bytes: isWhole ? source.byteLength : rowBytes,
    ...layout,
  }, {
    flops: 0,
    bytes: 2 * source.byteLength,
    shapes: shapesOf({ out, in: source }),
  });
}

/**
 * out = in, rounded to nearest even; f32, bf16, f16.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit or the tensors overlap.
 */
export async function convert(device: Device, args: CopyArguments): Promise<void> {
  const check = new OpCheck(device, "convert");
  const { out, in: source } = args;
  const demand = { dtypes: FLOATS, shape: source.shape };
  const target = check.output("out", out, demand);
  const origin = check.input("in", source, demand);
  checkApart(check, args);
  await device.kernels.run("sx_convert", {
    out: target,
    outDtype: DTYPE_CODES[out.dtype],
    in: origin,
    inDtype: DTYPE_CODES[source.dtype],
    count: source.size,
  }, { flops: source.size, bytes: bytesOf(out, source), shapes: shapesOf({ out, in: source }) });
}

function checkApart(check: OpCheck, args: CopyArguments): void {
  const { out, in: source } = args;
  const apart = out.address + BigInt(out.byteLength) <= source.address ||
    source.address + BigInt(source.byteLength) <= out.address;
  check.extent(apart, "'out' must not overlap 'in'", `${out.label} and ${source.label}`);
}
