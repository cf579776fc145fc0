/**
 * Attention of few queries against a long cache: `sx_attention_decode`.
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

/** The most query tokens of one call. */
export const DECODE_QUERY_TOKENS = 16;

/** What `attentionDecode()` reads and writes. */
export interface AttentionDecodeArguments
  extends Pick<AttentionArguments, "out" | "lse" | "q" | "scale"> {
  /** The cache; its `tokens` bound the number of keys. */
  readonly keys: AttentionArguments["keys"];
  /** [1] i32: the number of keys, 0 to `keys.tokens`. */
  readonly keyCount: Tensor;
  /** Whether query t sees only the keys j <= keyCount - T + t, and not all of them. */
  readonly causal: boolean;
}

/**
 * As `attentionDense()` for at most 16 queries, the keys being split over threads.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 * @throws {KernelError} If the number of keys is out of range.
 */
export async function attentionDecode(
  device: Device,
  args: AttentionDecodeArguments,
): Promise<void> {
  const check = new OpCheck(device, "attentionDecode");
  const { out, lse, q, keys, keyCount, causal } = args;
  const sizes = checkAttention(check, { q, keys, qOffset: 0, device });
  const { kv } = sizes;
  check.cacheDtype("keys", keys);
  check.integer("query tokens", sizes.tokens, { min: 0, max: DECODE_QUERY_TOKENS });
  const pairs = sizes.tokens * keys.tokens;
  await device.kernels.run("sx_attention_decode", {
    ...checkAttentionOutputs(check, { out, lse, q }),
    q: sizes.q,
    qDtype: DTYPE_CODES[q.dtype],
    keys: kv.keys,
    values: kv.values,
    kvDtype: kv.dtype,
    keyCount: check.input("keyCount", keyCount, { dtypes: I32, shape: [1] }),
    causal: causal ? 1 : 0,
    qTokens: sizes.tokens,
    keyCapacity: kv.keyTokens,
    qHeads: sizes.qHeads,
    kvHeads: kv.kvHeads,
    headDim: sizes.headDim,
    tokenStride: kv.tokenStride,
    headStride: kv.headStride,
    scale: check.finite("scale", args.scale),
  }, {
    flops: 4 * sizes.headDim * sizes.qHeads * pairs,
    bytes: 2 * kv.kvHeads * sizes.headDim * keys.tokens * (keys.keys.dtype === "f32" ? 4 : 2),
    shapes: shapesOf({ out, lse, q, keys: keys.keys }),
  });
}
