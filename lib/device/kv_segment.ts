/**
 * A run of keys and values inside a cache: what attention reads.
 *
 * Layout as in `sx_kernels.h`: base[head * head_stride + token * token_stride + d].
 *
 * @module
 */
import { DTYPE_BYTES } from "./device.ts";
import type { Tensor } from "./tensor.ts";

/** Some consecutive tokens of a cache. */
export interface KvSegment {
  /** [kv_heads, capacity, head_dim], bf16 or f32. */
  readonly keys: Tensor;
  /** As `keys`: same shape, dtype and strides. */
  readonly values: Tensor;
  /** The first token's row in the cache; below 0 where that token is absent. */
  readonly start: number;
  /** The number of tokens; `start + tokens` is at most the capacity. */
  readonly tokens: number;
  /**
   * So many of the first tokens are not in the cache any more. They count, and no op may read them:
   * the window of a call hides them from all of its queries.
   *
   * @default {0}
   */
  readonly absent?: number | undefined;
}

/** A segment as the C functions take it; sizes in elements. */
export interface SegmentLayout {
  /** Address of head 0, row `start`. */
  readonly keys: bigint;
  readonly values: bigint;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly tokenStride: number;
  readonly headStride: number;
}

/**
 * Checks a segment and finds its addresses.
 *
 * @param segment The segment.
 * @param name How messages call it, for example `prefix`.
 * @throws {TypeError} If rank, dtype or disposal is wrong.
 * @throws {RangeError} If keys and values differ in shape, or tokens lie outside of the cache.
 */
export function segmentLayout(segment: KvSegment, name: string): SegmentLayout {
  const { keys, values, start, tokens, absent = 0 } = segment;
  const [kvHeads, capacity, headDim] = keys.shape;
  if (
    keys.shape.length !== 3 || kvHeads === undefined || capacity === undefined ||
    headDim === undefined
  ) {
    throw new TypeError(
      `Cannot use segment '${name}' as its keys must be [kv_heads, capacity, head_dim]: ` +
        `current value is [${keys.shape.join(", ")}]`,
    );
  }
  if (keys.dtype !== values.dtype || (keys.dtype !== "bf16" && keys.dtype !== "f32")) {
    throw new TypeError(
      `Cannot use segment '${name}' as keys and values must both be bf16 or f32: ` +
        `current value is ${keys.dtype} and ${values.dtype}`,
    );
  }
  if (String(keys.shape) !== String(values.shape) || keys.rowStride !== values.rowStride) {
    throw new RangeError(
      `Cannot use segment '${name}' as its values must have the keys' shape ` +
        `[${keys.shape.join(", ")}] and strides: current value is [${values.shape.join(", ")}]`,
    );
  }
  const first = start + absent;
  const isGone = absent > 0 && absent === tokens;
  const valid = [start, tokens, absent].every(Number.isSafeInteger) && absent >= 0 &&
    absent <= tokens && (isGone || first >= 0) && start + tokens <= capacity;
  if (!valid) {
    throw new RangeError(
      `Cannot use segment '${name}' as its tokens must lie within a cache of ${capacity}: ` +
        `current value is ${first} to ${start + tokens}`,
    );
  }
  // Of a segment that is gone nothing is read: its last token is anywhere in the cache.
  const row = isGone ? 1 - tokens : start;
  const offset = BigInt(row * headDim * DTYPE_BYTES[keys.dtype]);
  return {
    keys: keys.address + offset,
    values: values.address + offset,
    kvHeads,
    headDim,
    tokenStride: headDim,
    headStride: keys.rowStride,
  };
}
