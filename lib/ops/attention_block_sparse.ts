/**
 * Attention over chosen blocks of keys (XAttention, arXiv 2503.16428): `sx_attention_block_sparse`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { SX_BLOCK } from "../ffi/symbols.ts";
import {
  type AttentionArguments,
  blockCount,
  checkAttention,
  checkAttentionOutputs,
} from "./attention_arguments.ts";
import { bytesOf, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `attentionBlockSparse()` reads and writes; `qOffset` and the prefix in whole blocks. */
export interface AttentionBlockSparseArguments extends AttentionArguments {
  /** [q_heads, q_blocks] i32: how many key blocks each row block reads. */
  readonly counts: Tensor;
  /** [q_heads, q_blocks, index_stride] i32: their numbers, ascending. */
  readonly indices: Tensor;
}

/** The share of causal blocks that is assumed when the cost of a call is estimated. */
export const ASSUMED_DENSITY = 0.1;

/**
 * As `attentionDense()` over the chosen blocks of 128 keys only; others are not read.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or offset or prefix is no multiple of 128.
 * @throws {KernelError} If a count or a block's number is out of range.
 */
export async function attentionBlockSparse(
  device: Device,
  args: AttentionBlockSparseArguments,
): Promise<void> {
  const check = new OpCheck(device, "attentionBlockSparse");
  const { out, lse, q, keys, counts, indices } = args;
  const sizes = checkAttention(check, { ...args, device });
  const { own, prefix, qHeads } = sizes;
  checkWholeBlocks(check, args);
  const qBlocks = blockCount(sizes.tokens);
  const [, , indexStride] = check.cube("indices", indices);
  await device.kernels.run("sx_attention_block_sparse", [
    ...checkAttentionOutputs(check, { out, lse, q }),
    sizes.q,
    own.keys,
    own.values,
    prefix.keys,
    prefix.values,
    check.input("counts", counts, { dtypes: I32, shape: [qHeads, qBlocks] }),
    check.input("indices", indices, { dtypes: I32, shape: [qHeads, qBlocks, indexStride] }),
    DTYPE_CODES[out.dtype],
    DTYPE_CODES[q.dtype],
    DTYPE_CODES[keys.keys.dtype],
    BigInt(sizes.tokens),
    sizes.qOffset,
    BigInt(sizes.keyTokens),
    BigInt(sizes.prefixTokens),
    BigInt(qHeads),
    BigInt(sizes.kvHeads),
    BigInt(sizes.headDim),
    BigInt(own.tokenStride),
    BigInt(own.headStride),
    BigInt(prefix.tokenStride),
    BigInt(prefix.headStride),
    BigInt(indexStride),
    check.finite("scale", args.scale),
  ], {
    flops: ASSUMED_DENSITY * 4 * sizes.headDim * qHeads * sizes.visiblePairs,
    bytes: bytesOf(out, q),
    shapes: shapesOf({ out, lse, q, keys: keys.keys, prefix: args.prefix?.keys, counts, indices }),
  });
}

/** Checks that blocks of the call are blocks of the sequence. */
export function checkWholeBlocks(
  check: OpCheck,
  args: Pick<AttentionArguments, "prefix" | "qOffset">,
): void {
  const prefixTokens = args.prefix?.tokens ?? 0;
  check.extent(
    args.qOffset % SX_BLOCK === 0,
    `'qOffset' must be a multiple of ${SX_BLOCK}`,
    args.qOffset,
  );
  check.extent(
    prefixTokens % SX_BLOCK === 0,
    `the tokens of 'prefix' must be a multiple of ${SX_BLOCK}`,
    prefixTokens,
  );
}
