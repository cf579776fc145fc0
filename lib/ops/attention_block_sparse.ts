/**
 * Attention over chosen tiles (XAttention, arXiv 2503.16428): `sx_attention_block_sparse`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { type AttentionArguments, checkAttention, tileCount } from "./attention_arguments.ts";
import { denseParams } from "./attention_dense.ts";
import { bytesOf, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `attentionBlockSparse()` reads and writes; `qOffset` and the prefix in whole tiles. */
export interface AttentionBlockSparseArguments extends AttentionArguments {
  /** [q_heads, q_tiles] i32: how many key tiles each row of tiles reads. */
  readonly counts: Tensor;
  /** [q_heads, q_tiles, index_stride] i32: their numbers, ascending. */
  readonly indices: Tensor;
}

/** The share of causal tiles that is assumed when the cost of a call is estimated. */
export const ASSUMED_DENSITY = 0.1;

/**
 * As `attentionDense()` over the chosen tiles of 128 keys only; others are not read.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or offset or prefix is no multiple of 128.
 * @throws {KernelError} If a count or a tile's number is out of range.
 */
export async function attentionBlockSparse(
  device: Device,
  args: AttentionBlockSparseArguments,
): Promise<void> {
  const check = new OpCheck(device, "attentionBlockSparse");
  const { out, lse, q, keys, counts, indices } = args;
  const sizes = checkAttention(check, { ...args, device });
  const { qHeads } = sizes;
  checkWholeTiles(check, args);
  const qTiles = tileCount(sizes.tokens);
  const [, , indexStride] = check.cube("indices", indices);
  await device.kernels.run("sx_attention_block_sparse", {
    attention: denseParams(check, { args, sizes }),
    counts: check.input("counts", counts, { dtypes: I32, shape: [qHeads, qTiles] }),
    indices: check.input("indices", indices, { dtypes: I32, shape: [qHeads, qTiles, indexStride] }),
    indexStride,
  }, {
    flops: ASSUMED_DENSITY * 4 * sizes.headDim * qHeads * sizes.visiblePairs,
    bytes: bytesOf(out, q),
    shapes: shapesOf({ out, lse, q, keys: keys.keys, prefix: args.prefix?.keys, counts, indices }),
  });
}

/** Checks that tiles of the call are tiles of the sequence. */
export function checkWholeTiles(
  check: OpCheck,
  args: Pick<AttentionArguments, "prefix" | "qOffset">,
): void {
  const prefixTokens = args.prefix?.tokens ?? 0;
  check.extent(
    args.qOffset % TILE_TOKENS === 0,
    `'qOffset' must be a multiple of ${TILE_TOKENS}`,
    args.qOffset,
  );
  check.extent(
    prefixTokens % TILE_TOKENS === 0,
    `the tokens of 'prefix' must be a multiple of ${TILE_TOKENS}`,
    prefixTokens,
  );
}
