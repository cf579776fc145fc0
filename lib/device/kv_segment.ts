/**
 * A run of keys and values inside a cache: what attention reads.
 *
 * Layout as in `sx_kernels.h`: base[head * head_stride + token * token_stride + d].
 *
 * @module
 */
import { DTYPE_BYTES } from "./device.ts";
import type { Tensor } from "./tensor.ts";

/** What keys and values are kept as: floats, or 8 bits with a scale for each row. */
export type KvDType = "bf16" | "f32" | "i8" | "f8e4m3";

/** Whether keys and values have a scale for each row. */
export function isScaled(dtype: string): dtype is "i8" | "f8e4m3" {
  return dtype === "i8" || dtype === "f8e4m3";
}

/** The scales of keys and values of 8 bits: [kv_heads, capacity, 1] f32 each. */
export interface KvScales {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Some consecutive tokens of a cache. */
export interface KvSegment {
  /** [kv_heads, capacity, head_dim], bf16 or f32; or 8 bits, which few ops read. */
  readonly keys: Tensor;
  /** As `keys`: same shape, dtype and strides. */
  readonly values: Tensor;
  /** There if keys and values have 8 bits. */
  readonly scales?: KvScales | undefined;
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
  /** Addresses of the scales of head 0, row `start`; 0 where there are none. */
  readonly keyScales: bigint;
  readonly valueScales: bigint;
  readonly scaleHeadStride: number;
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
  const isKnown = keys.dtype === "bf16" || keys.dtype === "f32" || isScaled(keys.dtype);
  if (keys.dtype !== values.dtype || !isKnown) {
    throw new TypeError(
      `Cannot use segment '${name}' as keys and values must both be bf16 or f32, or of 8 bits: ` +
        `current value is ${keys.dtype} and ${values.dtype}`,
    );
  }
  checkScales(segment, name);
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
  const { scales } = segment;
  const scaleOffset = BigInt(row * DTYPE_BYTES.f32);
  return {
    keys: keys.address + offset,
    values: values.address + offset,
    kvHeads,
    headDim,
    tokenStride: headDim,
    headStride: keys.rowStride,
    keyScales: scales === undefined ? 0n : scales.keys.address + scaleOffset,
    valueScales: scales === undefined ? 0n : scales.values.address + scaleOffset,
    scaleHeadStride: scales?.keys.rowStride ?? 0,
  };
}

/** Checks that scales are there if they must be, and for each row. */
function checkScales({ keys, scales }: KvSegment, name: string): void {
  const [kvHeads = 0, capacity = 0] = keys.shape;
  const isThere = scales !== undefined;
  if (isThere !== isScaled(keys.dtype)) {
    throw new TypeError(
      `Cannot use segment '${name}' as scales must be there if and only if keys have 8 bits: ` +
        `current value is ${keys.dtype} ${isThere ? "with" : "without"} scales`,
    );
  }
  for (const { dtype, shape, rowStride } of isThere ? [scales.keys, scales.values] : []) {
    const fits = String(shape) === String([kvHeads, capacity, 1]) &&
      rowStride === scales?.keys.rowStride;
    if (fits && dtype === "f32") continue;
    throw new RangeError(
      `Cannot use segment '${name}' as its scales must be f32 of shape ` +
        `[${kvHeads}, ${capacity}, 1]: current value is ${dtype} [${shape.join(", ")}]`,
    );
  }
}
