/**
 * Attention of few queries of some sequences against a long cache: `sx_attention_decode`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import type { AttentionDecodeParams } from "../ffi/attention_params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import {
  type AttentionArguments,
  checkAttention,
  checkAttentionOutputs,
} from "./attention_arguments.ts";
import { I32, OpCheck, shapesOf } from "./op_check.ts";

/** The most query tokens of a sequence in one call. */
export const DECODE_QUERY_TOKENS = 16;

/** What `attentionDecode()` reads and writes; B sequences with T queries each. */
export interface AttentionDecodeArguments
  extends Pick<AttentionArguments, "out" | "lse" | "q" | "scale"> {
  /**
   * The cache of all sequences, in floats or 8 bits; `out`, `lse` and `q` have B * T rows, sequence by
   * sequence.
   */
  readonly keys: AttentionArguments["keys"];
  /** [B] i32: the number of keys of each sequence, 0 to `sequenceCapacity`. */
  readonly keyCount: Tensor;
  /** [B] i32: the row of the cache that each sequence begins at. @default {0} */
  readonly firstRow?: Tensor | undefined;
  /** The most keys that a sequence may have. @default {keys.tokens} */
  readonly sequenceCapacity?: number;
  /** Whether query t sees only the keys j <= keyCount - T + t, and not all of them. */
  readonly causal: boolean;
  /** Of the keys that it might see, a query sees the last `window`; 0: all. @default {0} */
  readonly window?: number;
}

/**
 * As `attentionDense()` for at most 16 queries of each of some sequences, the keys being split over
 * threads. What is computed for a sequence is bit for bit the same whatever others there are.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 * @throws {KernelError} If a first row or a number of keys is out of range.
 */
export async function attentionDecode(
  device: Device,
  args: AttentionDecodeArguments,
): Promise<void> {
  const check = new OpCheck(device, "attentionDecode");
  const { out, lse, q, keys } = args;
  const params = checkDecode(check, args, { device });
  const { sequences, sequenceCapacity } = params;
  const read = Math.min(keys.tokens, sequences * sequenceCapacity);
  await device.kernels.run("sx_attention_decode", params, {
    ...decodeCost(params, read),
    shapes: shapesOf({ out, lse, q, keys: keys.keys }),
  });
}

/**
 * Checks the arguments of attention over a cache.
 *
 * @returns What an op takes of them.
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkDecode(
  check: OpCheck,
  args: AttentionDecodeArguments,
  options: { device: Device },
): AttentionDecodeParams {
  const { device } = options;
  const { out, lse, q, keys, keyCount, firstRow, causal, window = 0 } = args;
  const sizes = checkAttention(check, { q, keys, qOffset: 0, device, scaled: true });
  const { kv } = sizes;
  check.cacheDtype("keys", keys, { scaled: true });
  const { keyScales, valueScales, scaleHeadStride } = check.segment("keys", keys, { scaled: true });
  const sequences = keyCount.size;
  const { sequenceCapacity = keys.tokens } = args;
  check.integer("sequenceCapacity", sequenceCapacity, { min: 0, max: keys.tokens });
  const perSequence = { dtypes: I32, shape: [sequences] };
  return {
    ...checkAttentionOutputs(check, { out, lse, q }),
    q: sizes.q,
    qDtype: DTYPE_CODES[q.dtype],
    keys: kv.keys,
    values: kv.values,
    kvDtype: kv.dtype,
    keyScales,
    valueScales,
    firstRow: firstRow === undefined ? 0n : check.input("firstRow", firstRow, perSequence),
    keyCount: check.input("keyCount", keyCount, perSequence),
    causal: causal ? 1 : 0,
    window: check.integer("window", window, { min: 0 }),
    sequences,
    qTokens: checkFewQueries(check, { rows: sizes.tokens, sequences }),
    sequenceCapacity,
    keyCapacity: kv.keyTokens,
    qHeads: sizes.qHeads,
    kvHeads: kv.kvHeads,
    headDim: sizes.headDim,
    tokenStride: kv.tokenStride,
    headStride: kv.headStride,
    scaleHeadStride,
    scale: check.finite("scale", args.scale),
  };
}

/** The query tokens of each sequence. @throws {RangeError} If they are not alike, or too many. */
export function checkFewQueries(
  check: OpCheck,
  { rows, sequences }: { rows: number; sequences: number },
): number {
  check.extent(
    rows % Math.max(sequences, 1) === 0,
    `'q' must have as many rows for each of the ${sequences} sequences`,
    rows,
  );
  const tokens = rows / Math.max(sequences, 1);
  return check.integer("query tokens", tokens, { min: 0, max: DECODE_QUERY_TOKENS });
}

/** What attention over some keys of a cache costs. */
export function decodeCost(
  params: Pick<AttentionDecodeParams, "headDim" | "qHeads" | "kvHeads" | "qTokens" | "kvDtype">,
  keys: number,
): { flops: number; bytes: number } {
  const { headDim, qHeads, kvHeads, qTokens, kvDtype } = params;
  const { f32, bf16 } = DTYPE_BYTES;
  // Of a row of 8 bits the scale is read, too.
  const rowBytes = kvDtype === DTYPE_CODES.f32
    ? f32 * headDim
    : kvDtype === DTYPE_CODES.bf16
    ? bf16 * headDim
    : headDim + f32;
  return {
    flops: 4 * headDim * qHeads * qTokens * keys,
    bytes: 2 * kvHeads * keys * rowBytes,
  };
}
