/**
 * StarXAttention's score of a rank (zer0-data/StarXAttention c33af48) and the mean of the anchor's
 * keys that it needs: `sx_rank_score` and `sx_key_mean`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { checkStride } from "./antidiagonal_score.ts";
import { checkAttention } from "./attention_arguments.ts";
import { bytesOf, F32, OpCheck, shapesOf } from "./op_check.ts";

/** What `keyMean()` reads and writes. */
export interface KeyMeanArguments {
  /** [kv_heads, head_dim] f32. */
  readonly out: Tensor;
  /** At least one token. */
  readonly keys: KvSegment;
}

/**
 * out[h,:] = mean of the segment's keys.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit or there is no token.
 */
export async function keyMean(device: Device, args: KeyMeanArguments): Promise<void> {
  const check = new OpCheck(device, "keyMean");
  const { out, keys } = args;
  const own = check.segment("keys", keys);
  await device.kernels.run("sx_key_mean", {
    out: check.output("out", out, { dtypes: F32, shape: [own.kvHeads, own.headDim] }),
    keys: own.keys,
    kvDtype: DTYPE_CODES[keys.keys.dtype],
    tokens: check.integer("tokens", keys.tokens, { min: 1 }),
    kvHeads: own.kvHeads,
    headDim: own.headDim,
    tokenStride: own.tokenStride,
    headStride: own.headStride,
  }, {
    flops: own.kvHeads * own.headDim * keys.tokens,
    bytes: 4 * own.kvHeads * own.headDim * keys.tokens,
    shapes: shapesOf({ out, keys: keys.keys }),
  });
}

/** What `rankScore()` reads and writes. */
export interface RankScoreArguments {
  /** [q_heads] f32. */
  readonly score: Tensor;
  /** [T, q_heads, head_dim] f32 (CPU) or bf16 (CUDA). */
  readonly q: Tensor;
  /** [kv_heads, head_dim] f32, from `keyMean()`. */
  readonly anchorMean: Tensor;
  /** The rank's keys; may have no token. */
  readonly keys: KvSegment;
  /** Tokens per group, a divisor of 128. */
  readonly stride: number;
  /** Factor of the sum, usually 1 / sqrt(head_dim). */
  readonly scale: number;
}

/**
 * StarXAttention's score of a rank in phase 2; its key heads are tiled, not grouped.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function rankScore(device: Device, args: RankScoreArguments): Promise<void> {
  const check = new OpCheck(device, "rankScore");
  const { score, q, anchorMean, keys, stride, scale } = args;
  const { kv, ...sizes } = checkAttention(check, { q, keys, qOffset: 0, device });
  await device.kernels.run("sx_rank_score", {
    score: check.output("score", score, { dtypes: F32, shape: [sizes.qHeads] }),
    q: sizes.q,
    qDtype: DTYPE_CODES[q.dtype],
    anchorMean: check.input("anchorMean", anchorMean, {
      dtypes: F32,
      shape: [kv.kvHeads, kv.headDim],
    }),
    keys: kv.keys,
    kvDtype: kv.dtype,
    qTokens: sizes.tokens,
    keyTokens: kv.keyTokens,
    qHeads: sizes.qHeads,
    kvHeads: kv.kvHeads,
    headDim: kv.headDim,
    tokenStride: kv.tokenStride,
    headStride: kv.headStride,
    stride: checkStride(check, stride),
    scale: check.finite("scale", scale),
  }, {
    flops: 2 * q.size,
    bytes: 2 * bytesOf(q),
    shapes: shapesOf({ score, q, anchorMean, keys: keys.keys }),
  });
}
