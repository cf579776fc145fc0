/**
 * Choice of the next token: `sx_argmax` and `sx_top_k`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { bytesOf, F32, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `argmax()` reads and writes. */
export interface ArgmaxArguments {
  /** [rows] i32. */
  readonly out: Tensor;
  /** [rows, count] f32. */
  readonly logits: Tensor;
}

/**
 * The index of the largest value of each row; the lower one of equals; -1 of a row with a value that
 * is not finite.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function argmax(device: Device, args: ArgmaxArguments): Promise<void> {
  const check = new OpCheck(device, "argmax");
  const { out, logits } = args;
  const [rows, count] = check.matrix("logits", logits);
  check.extent(count >= 1, "'logits' must have a column", count);
  await device.kernels.run("sx_argmax", {
    out: check.output("out", out, { dtypes: I32, shape: [rows] }),
    logits: check.input("logits", logits, { dtypes: F32, shape: [rows, count] }),
    rows,
    count,
  }, { flops: logits.size, bytes: bytesOf(logits), shapes: shapesOf({ out, logits }) });
}

/** What `topK()` reads and writes. */
export interface TopKArguments {
  /** [k] i32. */
  readonly ids: Tensor;
  /** [k] f32. */
  readonly values: Tensor;
  /** [count] f32, count >= k. */
  readonly logits: Tensor;
}

/**
 * The k largest values in falling order; the lower index first among equals.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, k being 1 to count.
 */
export async function topK(device: Device, args: TopKArguments): Promise<void> {
  const check = new OpCheck(device, "topK");
  const { ids, values, logits } = args;
  const k = check.vector("ids", ids);
  const count = check.vector("logits", logits);
  check.integer("k", k, { min: 1, max: count });
  await device.kernels.run("sx_top_k", {
    outIds: check.output("ids", ids, { dtypes: I32, shape: [k] }),
    outValues: check.output("values", values, { dtypes: F32, shape: [k] }),
    logits: check.input("logits", logits, { dtypes: F32, shape: [count] }),
    count,
    k,
  }, {
    flops: count * Math.log2(k + 2),
    bytes: bytesOf(logits),
    shapes: shapesOf({ ids, values, logits }),
  });
}
