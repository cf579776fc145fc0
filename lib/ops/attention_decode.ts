/**
 * Attention of few queries of some sequences against a long cache: `sx_attention_decode`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
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
  /** The cache of all sequences, `out`, `lse` and `q` having B * T rows, sequence by sequence. */
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
  const { out, lse, q, keys, keyCount, firstRow, causal, window = 0 } = args;
  const sizes = checkAttention(check, { q, keys, qOffset: 0, device });
  const { kv } = sizes;
  check.cacheDtype("keys", keys);
  const sequences = keyCount.size;
  check.extent(
    sizes.tokens % Math.max(sequences, 1) === 0,
    `'q' must have as many rows for each of the ${sequences} sequences`,
    sizes.tokens,
  );
  const qTokens = sizes.tokens / Math.max(sequences, 1);
  check.integer("query tokens", qTokens, { min: 0, max: DECODE_QUERY_TOKENS });
  const { sequenceCapacity = keys.tokens } = args;
  check.integer("sequenceCapacity", sequenceCapacity, { min: 0, max: keys.tokens });
  const perSequence = { dtypes: I32, shape: [sequences] };
  const read = Math.min(keys.tokens, sequences * sequenceCapacity);
  await device.kernels.run("sx_attention_decode", {
    ...checkAttentionOutputs(check, { out, lse, q }),
    q: sizes.q,
    qDtype: DTYPE_CODES[q.dtype],
    keys: kv.keys,
    values: kv.values,
    kvDtype: kv.dtype,
    firstRow: firstRow === undefined ? 0n : check.input("firstRow", firstRow, perSequence),
    keyCount: check.input("keyCount", keyCount, perSequence),
    causal: causal ? 1 : 0,
    window: check.integer("window", window, { min: 0 }),
    sequences,
    qTokens,
    sequenceCapacity,
    keyCapacity: kv.keyTokens,
    qHeads: sizes.qHeads,
    kvHeads: kv.kvHeads,
    headDim: sizes.headDim,
    tokenStride: kv.tokenStride,
    headStride: kv.headStride,
    scale: check.finite("scale", args.scale),
  }, {
    flops: 4 * sizes.headDim * sizes.qHeads * qTokens * read,
    bytes: 2 * kv.kvHeads * sizes.headDim * read * (keys.keys.dtype === "f32" ? 4 : 2),
    shapes: shapesOf({ out, lse, q, keys: keys.keys }),
  });
}
