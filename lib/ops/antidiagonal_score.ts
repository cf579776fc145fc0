/**
 * Antidiagonal sums: the mass of every block (XAttention, arXiv 2503.16428, section 2.1) and the
 * seed's score of a host (zer0-data/StarXAttention c33af48): `sx_antidiagonal_score`,
 * `sx_key_mean`, `sx_host_score`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { SX_BLOCK } from "../ffi/symbols.ts";
import {
  type AttentionArguments,
  blockCount,
  checkAttention,
  queryDtypes,
} from "./attention_arguments.ts";
import { checkWholeBlocks } from "./attention_block_sparse.ts";
import { bytesOf, F32, OpCheck, shapesOf } from "./op_check.ts";

/** What `antidiagonalScore()` reads and writes; `qOffset` and the prefix in whole blocks. */
export interface AntidiagonalScoreArguments
  extends Pick<AttentionArguments, "q" | "keys" | "prefix" | "qOffset" | "scale"> {
  /** [q_heads, q_blocks, key_blocks] f32; cells after the diagonal get 0. */
  readonly mass: Tensor;
  /** Tokens per group, a divisor of 128. */
  readonly stride: number;
}

/**
 * The share of each row of groups that falls into each block of 128 keys, summed over the rows.
 *
 * The queries are the last tokens of the sequence: prefix and keys hold qOffset + T tokens.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function antidiagonalScore(
  device: Device,
  args: AntidiagonalScoreArguments,
): Promise<void> {
  const check = new OpCheck(device, "antidiagonalScore");
  const { mass, q, keys, stride } = args;
  const sizes = checkAttention(check, { ...args, device });
  const { own, prefix } = sizes;
  checkWholeBlocks(check, args);
  const keyTokens = sizes.prefixTokens + sizes.keyTokens;
  check.extent(
    keyTokens === args.qOffset + sizes.tokens,
    `prefix and keys must have the ${args.qOffset + sizes.tokens} tokens up to the last query`,
    keyTokens,
  );
  const shape = [sizes.qHeads, blockCount(sizes.tokens), blockCount(keyTokens)];
  await device.kernels.run("sx_antidiagonal_score", [
    check.output("mass", mass, { dtypes: F32, shape }),
    sizes.q,
    own.keys,
    prefix.keys,
    DTYPE_CODES[q.dtype],
    DTYPE_CODES[keys.keys.dtype],
    BigInt(sizes.tokens),
    sizes.qOffset,
    BigInt(sizes.keyTokens),
    BigInt(sizes.prefixTokens),
    BigInt(sizes.qHeads),
    BigInt(sizes.kvHeads),
    BigInt(sizes.headDim),
    BigInt(own.tokenStride),
    BigInt(own.headStride),
    BigInt(prefix.tokenStride),
    BigInt(prefix.headStride),
    checkStride(check, stride),
    check.finite("scale", args.scale),
  ], {
    flops: 2 * sizes.headDim * sizes.qHeads * sizes.visiblePairs / stride,
    bytes: bytesOf(mass, q),
    shapes: shapesOf({ mass, q, keys: keys.keys, prefix: args.prefix?.keys }),
  });
}

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
  await device.kernels.run("sx_key_mean", [
    check.output("out", out, { dtypes: F32, shape: [own.kvHeads, own.headDim] }),
    own.keys,
    DTYPE_CODES[keys.keys.dtype],
    check.integer("tokens", keys.tokens, { min: 1 }),
    BigInt(own.kvHeads),
    BigInt(own.headDim),
    BigInt(own.tokenStride),
    BigInt(own.headStride),
  ], {
    flops: own.kvHeads * own.headDim * keys.tokens,
    bytes: 4 * own.kvHeads * own.headDim * keys.tokens,
    shapes: shapesOf({ out, keys: keys.keys }),
  });
}

/** What `hostScore()` reads and writes. */
export interface HostScoreArguments {
  /** [q_heads] f32. */
  readonly score: Tensor;
  /** [T, q_heads, head_dim] f32 (CPU) or bf16 (CUDA). */
  readonly q: Tensor;
  /** [kv_heads, head_dim] f32, from `keyMean()`. */
  readonly anchorMean: Tensor;
  /** The host's keys; may have no token. */
  readonly keys: KvSegment;
  /** Tokens per group, a divisor of 128. */
  readonly stride: number;
  /** Factor of the sum, usually 1 / sqrt(head_dim). */
  readonly scale: number;
}

/**
 * The seed's score of a host in phase 2; its key heads are tiled, not grouped.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function hostScore(device: Device, args: HostScoreArguments): Promise<void> {
  const check = new OpCheck(device, "hostScore");
  const { score, q, anchorMean, keys, stride, scale } = args;
  const [tokens, qHeads, headDim] = check.cube("q", q);
  const sizes = checkAttention(check, { q, keys, qOffset: 0, device });
  const { own } = sizes;
  await device.kernels.run("sx_host_score", [
    check.output("score", score, { dtypes: F32, shape: [qHeads] }),
    check.input("q", q, { dtypes: queryDtypes(device), shape: [tokens, qHeads, headDim] }),
    check.input("anchorMean", anchorMean, { dtypes: F32, shape: [own.kvHeads, headDim] }),
    own.keys,
    DTYPE_CODES[q.dtype],
    DTYPE_CODES[keys.keys.dtype],
    BigInt(tokens),
    BigInt(keys.tokens),
    BigInt(qHeads),
    BigInt(own.kvHeads),
    BigInt(headDim),
    BigInt(own.tokenStride),
    BigInt(own.headStride),
    checkStride(check, stride),
    check.finite("scale", scale),
  ], {
    flops: 2 * q.size,
    bytes: 2 * bytesOf(q),
    shapes: shapesOf({ score, q, anchorMean, keys: keys.keys }),
  });
}

function checkStride(check: OpCheck, stride: number): bigint {
  check.extent(
    Number.isInteger(stride) && stride >= 1 && SX_BLOCK % stride === 0,
    `'stride' must be a divisor of ${SX_BLOCK}`,
    stride,
  );
  return BigInt(stride);
}
