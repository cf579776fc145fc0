/**
 * The exact attention mass of every tile, which selections by a score are measured by: `sx_tile_mass`.
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

/** What `tileMass()` reads and writes; `qOffset` and the prefix in whole tiles. */
export interface TileMassArguments extends
  Pick<
    AttentionArguments,
    "q" | "keys" | "prefix" | "qOffset" | "scale" | "window" | "prefixGap"
  > {
  /** [q_heads, q_tiles, key_tiles] f32; tiles that no query sees get 0. */
  readonly mass: Tensor;
  /** [T, q_heads] f32, as `attentionDense()` gives it of the same arguments. */
  readonly lse: Tensor;
}

/**
 * The softmax weights of a tile's queries that fall on its keys, added up: a row of tiles adds up to
 * its number of queries.
 *
 * The queries are the last tokens of the sequence: prefix and keys hold qOffset + T tokens.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function tileMass(device: Device, args: TileMassArguments): Promise<void> {
  const check = new OpCheck(device, "tileMass");
  const { mass, q, lse, keys } = args;
  const sizes = checkAttention(check, { ...args, device });
  const { kv, qHeads, tokens } = sizes;
  check.cacheDtype("keys", keys);
  checkWholeTiles(check, args);
  const keyTokens = kv.prefixTokens + kv.keyTokens;
  check.extent(
    keyTokens === args.qOffset + tokens,
    `prefix and keys must have the ${args.qOffset + tokens} tokens up to the last query`,
    keyTokens,
  );
  const shape = [qHeads, tileCount(tokens), tileCount(keyTokens)];
  await device.kernels.run("sx_tile_mass", {
    tiles: {
      mass: check.output("mass", mass, { dtypes: F32, shape }),
      q: sizes.q,
      qDtype: DTYPE_CODES[q.dtype],
      kv,
      qTokens: tokens,
      qOffset: sizes.qOffset,
      qHeads,
      window: sizes.window,
      stride: TILE_TOKENS,
      scale: check.finite("scale", args.scale),
    },
    lseLog2: check.input("lse", lse, { dtypes: F32, shape: [tokens, qHeads] }),
  }, {
    flops: 2 * sizes.headDim * qHeads * sizes.visiblePairs,
    bytes: bytesOf(mass, q),
    shapes: shapesOf({ mass, q, lse, keys: keys.keys, prefix: args.prefix?.keys }),
  });
}
