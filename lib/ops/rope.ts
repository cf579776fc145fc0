/**
 * Rotary positions (RoPE, arXiv 2104.09864): `sx_rope_table` and `sx_rope`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { checkCacheRows } from "./kv_store.ts";
import { bytesOf, F32, F32_OR_BF16, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `ropeTable()` reads and writes. */
export interface RopeTableArguments {
  /** [tokens, rotary_dim] f32: cosines, then sines. */
  readonly table: Tensor;
  /** [rotary_dim / 2] f32, or [tokens, rotary_dim / 2] where they depend on the token. */
  readonly inverseFrequency: Tensor;
  /** [tokens] i32. */
  readonly positions: Tensor;
  /** Factor of cosines and sines. @default {1} */
  readonly scale?: number;
}

/**
 * table[t,d] = cos(positions[t] * inverseFrequency[d]), table[t,D/2+d] its sine.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function ropeTable(device: Device, args: RopeTableArguments): Promise<void> {
  const check = new OpCheck(device, "ropeTable");
  const { table, inverseFrequency, positions, scale = 1 } = args;
  const tokens = check.vector("positions", positions);
  const isShared = inverseFrequency.shape.length === 1;
  const half = isShared
    ? check.vector("inverseFrequency", inverseFrequency)
    : check.matrix("inverseFrequency", inverseFrequency)[1];
  await device.kernels.run("sx_rope_table", {
    table: check.output("table", table, { dtypes: F32, shape: [tokens, 2 * half] }),
    inverseFrequency: check.input("inverseFrequency", inverseFrequency, {
      dtypes: F32,
      shape: isShared ? [half] : [tokens, half],
    }),
    positions: check.input("positions", positions, { dtypes: I32, shape: [tokens] }),
    tokens,
    rotaryDim: 2 * half,
    frequencyStride: isShared ? 0 : half,
    scale: check.finite("scale", scale),
    // A sine and a cosine cost about 40 operations together.
  }, {
    flops: 40 * tokens * half,
    bytes: bytesOf(table),
    shapes: shapesOf({ table, inverseFrequency, positions }),
  });
}

/** What `rope()` reads and writes. */
export interface RopeArguments {
  /** [tokens, q_heads, padded_dim] f32 or bf16: behind head_dim are zeros. */
  readonly qOut: Tensor;
  /** Both [kv_heads, capacity, padded_dim] f32 or bf16; absent if every row is -1. */
  readonly cache?: { readonly keys: Tensor; readonly values: Tensor } | undefined;
  /** [tokens, (q_heads + 2 * kv_heads) * head_dim] f32 or bf16: queries, keys, values of a token. */
  readonly qkv: Tensor;
  /** [tokens, rotary_dim] f32, from `ropeTable()`; absent if nothing is rotated. */
  readonly table: Tensor | undefined;
  /** [tokens] i32: the cache row of each token, or -1 for none. */
  readonly rows: Tensor;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * Rotates queries and keys, and writes keys and values to the cache.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or (on the CPU) a row lies outside of the cache.
 */
export async function rope(device: Device, args: RopeArguments): Promise<void> {
  const check = new OpCheck(device, "rope");
  const { qOut, cache, qkv, table, rows, qHeads, kvHeads, headDim } = args;
  const tokens = check.vector("rows", rows);
  check.integer("qHeads", qHeads, { min: 1 });
  check.integer("kvHeads", kvHeads, { min: 1 });
  const [, , outDim] = check.cube("qOut", qOut);
  check.integer("headDim", headDim, { min: 1, max: outDim });
  const [, rotaryDim] = table === undefined ? [tokens, 0] : check.matrix("table", table);
  check.integer("rotaryDim", rotaryDim, { min: 0, max: headDim });
  const width = (qHeads + 2 * kvHeads) * headDim;
  const target = cacheTarget(check, { cache, kvHeads, outDim });
  await device.kernels.run("sx_rope", {
    qOut: check.output("qOut", qOut, { dtypes: F32_OR_BF16, shape: [tokens, qHeads, outDim] }),
    qDtype: DTYPE_CODES[qOut.dtype],
    keys: target.keys,
    values: target.values,
    cacheDtype: DTYPE_CODES[cache?.keys.dtype ?? "f32"],
    qkv: check.input("qkv", qkv, { dtypes: F32_OR_BF16, shape: [tokens, width] }),
    qkvDtype: DTYPE_CODES[qkv.dtype],
    table: table === undefined
      ? 0n
      : check.input("table", table, { dtypes: F32, shape: [tokens, rotaryDim] }),
    rows: check.input("rows", rows, { dtypes: I32, shape: [tokens] }),
    tokens,
    qHeads,
    kvHeads,
    headDim,
    tokenStride: outDim,
    headStride: target.headStride,
    rotaryDim,
    outDim,
  }, {
    flops: 6 * qkv.size,
    bytes: 2 * bytesOf(qkv),
    shapes: shapesOf({ qOut, keys: cache?.keys, values: cache?.values, qkv, table, rows }),
    // The C function does not know the capacity; on a GPU the rows are not visible from here.
    check: () => {
      if (device.hasHostMemory) checkCacheRows(check, rows, target.capacity);
    },
  });
}

/** Where keys and values go. */
interface CacheTarget {
  readonly keys: bigint;
  readonly values: bigint;
  readonly headStride: number;
  readonly capacity: number;
}

function cacheTarget(
  check: OpCheck,
  args: Pick<RopeArguments, "cache" | "kvHeads"> & { outDim: number },
): CacheTarget {
  const { cache, kvHeads, outDim } = args;
  if (cache === undefined) {
    return { keys: 0n, values: 0n, headStride: outDim, capacity: 0 };
  }
  const { keys, values } = cache;
  const [, capacity] = check.cube("cache.keys", keys);
  const demand = { dtypes: F32_OR_BF16, shape: [kvHeads, capacity, outDim], strided: true };
  const keysAddress = check.output("cache.keys", keys, demand);
  const valuesAddress = check.output("cache.values", values, { ...demand, dtypes: [keys.dtype] });
  check.extent(
    keys.rowStride === values.rowStride,
    `'cache.values' must have the keys' row stride ${keys.rowStride}`,
    values.rowStride,
  );
  return { keys: keysAddress, values: valuesAddress, headStride: keys.rowStride, capacity };
}
