/**
 * Rotates a chunk's queries and keys, and writes keys and values to the cache: at once, or rounded to 8
 * bits from where they were rotated in f32.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { kvStore } from "../ops/kv_store.ts";
import { rope } from "../ops/rope.ts";
import type { Buffers } from "./layer_buffers.ts";
import type { LayerCache } from "./layer_cache.ts";

/** One layer of a chunk. */
export interface CacheWrite {
  readonly buffers: Buffers;
  /** Absent on ranks that keep nothing: every row is -1. */
  readonly cache: LayerCache | undefined;
  /** The rotation; absent if nothing is rotated. */
  readonly table: Tensor | undefined;
  /** [tokens] i32: the cache row of each token. */
  readonly rows: Tensor;
  readonly qHeads: number;
  readonly kvHeads: number;
  /** What a head has without padding. */
  readonly headDim: number;
}

/** Writes rotated queries to their buffer, and keys and values to the cache. */
export async function writeCache(device: Device, write: CacheWrite): Promise<void> {
  const { buffers, cache, rows, kvHeads, ...rotation } = write;
  const { q: qOut, qkv, chunkKeys, chunkValues, chunkRows } = buffers;
  const scales = cache?.scales;
  const call = { ...rotation, qOut, qkv, kvHeads };
  if (cache === undefined || scales === undefined) {
    return await rope(device, { ...call, cache, rows });
  }
  const [tokens = 0, , outDim = 0] = qOut.shape;
  const shape = [kvHeads, tokens, outDim];
  const chunk = { keys: chunkKeys.reshape(shape), values: chunkValues.reshape(shape) };
  await rope(device, { ...call, cache: chunk, rows: chunkRows });
  await kvStore(device, { ...chunk, cache: { ...cache, scales }, rows });
}
