/**
 * Looks up token embeddings: `sx_embedding`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `embedding()` reads and writes. */
export interface EmbeddingArguments {
  /** [tokens, dim] f32. */
  readonly out: Tensor;
  /** [vocabulary, dim] f32 or bf16. */
  readonly table: Tensor;
  /** [tokens] i32, each below the size of the vocabulary. */
  readonly ids: Tensor;
  /** Factor of the rows. @default {1} */
  readonly scale?: number;
}

/**
 * out[t,:] = scale * table[ids[t],:].
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 * @throws {KernelError} If an id is out of range.
 */
export async function embedding(device: Device, args: EmbeddingArguments): Promise<void> {
  const check = new OpCheck(device, "embedding");
  const { out, table, ids, scale = 1 } = args;
  const tokens = check.vector("ids", ids);
  const [vocabulary, dim] = check.matrix("table", table);
  await device.kernels.run("sx_embedding", {
    out: check.output("out", out, { dtypes: F32, shape: [tokens, dim] }),
    table: check.input("table", table, { dtypes: F32_OR_BF16, shape: [vocabulary, dim] }),
    tableDtype: DTYPE_CODES[table.dtype],
    ids: check.input("ids", ids, { dtypes: I32, shape: [tokens] }),
    tokens,
    dim,
    vocab: vocabulary,
    scale: check.finite("scale", scale),
  }, { flops: 0, bytes: 2 * bytesOf(out), shapes: shapesOf({ out, table, ids }) });
}
