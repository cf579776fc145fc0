/**
 * Keys and values rounded to 8 bits, into rows of a cache: `sx_kv_store`.
 *
 * @module
 */
import type { Device, DType } from "../device/device.ts";
import type { KvScales } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { bytesOf, F32, F32_OR_BF16, I32, OpCheck, shapesOf } from "./op_check.ts";

/** The dtypes of keys and values that have a scale for each row. */
export const EIGHT_BIT_DTYPES: readonly DType[] = ["i8", "f8e4m3"];

/** What `kvStore()` reads and writes. */
export interface KvStoreArguments {
  /** [kv_heads, capacity, head_dim] i8 or f8e4m3 each, and the scales of their rows. */
  readonly cache: { readonly keys: Tensor; readonly values: Tensor; readonly scales: KvScales };
  /** [kv_heads, tokens, head_dim] f32 or bf16 each. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** [tokens] i32: the cache row of each token, or -1 for none; no row twice. */
  readonly rows: Tensor;
}

/**
 * Rounds each row of a head by a scale of its own: the largest number becomes 127, or 448 of e4m3. A row
 * with a number that is not finite reads as NaN everywhere.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or (on the CPU) a row lies outside of the cache.
 */
export async function kvStore(device: Device, args: KvStoreArguments): Promise<void> {
  const check = new OpCheck(device, "kvStore");
  const { cache, keys, values, rows } = args;
  const [kvHeads, tokens, headDim] = check.cube("keys", keys);
  const [, capacity] = check.cube("cache.keys", cache.keys);
  const to = { dtypes: EIGHT_BIT_DTYPES, shape: [kvHeads, capacity, headDim], strided: true };
  const scales = { dtypes: F32, shape: [kvHeads, capacity, 1], strided: true };
  const from = { dtypes: F32_OR_BF16, shape: [kvHeads, tokens, headDim], strided: true };
  const like = (name: string, tensor: Tensor, first: Tensor) =>
    check.extent(
      tensor.rowStride === first.rowStride,
      `'${name}' must have the keys' row stride ${first.rowStride}`,
      tensor.rowStride,
    );
  like("cache.values", cache.values, cache.keys);
  like("cache.scales.values", cache.scales.values, cache.scales.keys);
  like("values", values, keys);
  await device.kernels.run("sx_kv_store", {
    keys: check.output("cache.keys", cache.keys, to),
    values: check.output("cache.values", cache.values, { ...to, dtypes: [cache.keys.dtype] }),
    kvDtype: DTYPE_CODES[cache.keys.dtype],
    keyScales: check.output("cache.scales.keys", cache.scales.keys, scales),
    valueScales: check.output("cache.scales.values", cache.scales.values, scales),
    inKeys: check.input("keys", keys, from),
    inValues: check.input("values", values, { ...from, dtypes: [keys.dtype] }),
    inDtype: DTYPE_CODES[keys.dtype],
    rows: check.input("rows", rows, { dtypes: I32, shape: [tokens] }),
    tokens,
    kvHeads,
    headDim,
    tokenStride: headDim,
    headStride: cache.keys.rowStride,
    scaleHeadStride: cache.scales.keys.rowStride,
    inTokenStride: headDim,
    inHeadStride: keys.rowStride,
  }, {
    flops: 4 * keys.size,
    bytes: 2 * bytesOf(keys, values),
    shapes: shapesOf({ cache: cache.keys, keys, values, rows }),
    // The C function does not know the capacity; on a GPU the rows are not visible from here.
    check: () => {
      if (device.hasHostMemory) checkCacheRows(check, rows, capacity);
    },
  });
}

/** Checks that rows lie in a cache. @throws {RangeError} If one does not. */
export function checkCacheRows(check: OpCheck, rows: Tensor, capacity: number): void {
  for (const row of rows.hostInts()) {
    check.extent(
      row >= -1 && row < capacity,
      `'rows' must lie within -1 to ${capacity - 1}`,
      row,
    );
  }
}
