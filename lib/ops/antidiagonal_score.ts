/**
 * The antidiagonal mass of every tile (XAttention, arXiv 2503.16428, section 2.1):
 * `sx_antidiagonal_score`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { type AttentionArguments, checkAttention, tileCount } from "./attention_arguments.ts";
import { checkWholeTiles } from "./attention_block_sparse.ts";
import { bytesOf, F32, OpCheck, shapesOf } from "./op_check.ts";

/** What `antidiagonalScore()` reads and writes; `qOffset` and the prefix in whole tiles. */
export interface AntidiagonalScoreArguments extends
  Pick<
    AttentionArguments,
    "q" | "keys" | "prefix" | "qOffset" | "scale" | "window" | "prefixGap"
  > {
  /** [q_heads, q_tiles, key_tiles] f32; tiles after the diagonal get 0. */
  readonly mass: Tensor;
  /** Tokens per group, a divisor of 128. */
  readonly stride: number;
}

/**
 * The share of each row of groups that falls into each tile, summed over the rows.
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
  const { kv } = sizes;
  check.cacheDtype("keys", keys);
  checkWholeTiles(check, args);
  const keyTokens = kv.prefixTokens + kv.keyTokens;
  check.extent(
    keyTokens === args.qOffset + sizes.tokens,
    `prefix and keys must have the ${args.qOffset + sizes.tokens} tokens up to the last query`,
    keyTokens,
  );
  const shape = [sizes.qHeads, tileCount(sizes.tokens), tileCount(keyTokens)];
  await device.kernels.run("sx_antidiagonal_score", {
    mass: check.output("mass", mass, { dtypes: F32, shape }),
    q: sizes.q,
    qDtype: DTYPE_CODES[q.dtype],
    kv,
    qTokens: sizes.tokens,
    qOffset: sizes.qOffset,
    qHeads: sizes.qHeads,
    window: sizes.window,
    stride: checkStride(check, stride),
    scale: check.finite("scale", args.scale),
  }, {
    flops: 2 * sizes.headDim * sizes.qHeads * sizes.visiblePairs / stride,
    bytes: bytesOf(mass, q),
    shapes: shapesOf({ mass, q, keys: keys.keys, prefix: args.prefix?.keys }),
  });
}

/** Checks the tokens of a group. */
export function checkStride(check: OpCheck, stride: number): number {
  check.extent(
    Number.isInteger(stride) && stride >= 1 && TILE_TOKENS % stride === 0,
    `'stride' must be a divisor of ${TILE_TOKENS}`,
    stride,
  );
  return stride;
}
