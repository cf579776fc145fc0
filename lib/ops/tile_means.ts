/**
 * The mean key and the mean value of every tile, which stand for tiles that are not chosen:
 * `sx_tile_means`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { TileMeansParams } from "../ffi/attention_params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { checkSegments, tileCount } from "./attention_arguments.ts";
import { OpCheck, shapesOf } from "./op_check.ts";

/** What `tileMeans()` reads and writes. */
export interface TileMeansArguments {
  /** A row for each tile of the sequence, from the first one on; bf16 or f32. */
  readonly means: KvSegment;
  /** The keys after the prefix; the last tile may have fewer than 128. */
  readonly keys: KvSegment;
  /** The first keys of the sequence, in whole tiles. */
  readonly prefix?: KvSegment | undefined;
  /** The first tile whose means are written. @default {0} */
  readonly firstTile?: number | undefined;
  /** How many tiles, from `firstTile` on. @default {All up to the last key} */
  readonly tiles?: number | undefined;
}

/**
 * Writes the mean of the keys and of the values of some tiles of 128 keys; others are not read.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit, or the prefix is no multiple of 128.
 */
export async function tileMeans(device: Device, args: TileMeansArguments): Promise<void> {
  const check = new OpCheck(device, "tileMeans");
  const { means, keys, prefix, firstTile = 0 } = args;
  check.cacheDtype("keys", keys);
  const kv = checkSegments(check, { keys, prefix });
  const { prefixTokens, kvHeads, headDim } = kv;
  check.extent(
    prefixTokens % TILE_TOKENS === 0,
    `the tokens of 'prefix' must be a multiple of ${TILE_TOKENS}`,
    prefixTokens,
  );
  const all = tileCount(prefixTokens + keys.tokens);
  check.integer("firstTile", firstTile, { min: 0, max: all });
  const { tiles = all - firstTile } = args;
  check.integer("tiles", tiles, { min: 0, max: all - firstTile });
  const to = checkMeans(check, { means, kvHeads, headDim, tiles: firstTile + tiles });
  await device.kernels.run("sx_tile_means", {
    ...to,
    kv,
    firstTile,
    tileCount: tiles,
  }, {
    flops: 2 * kvHeads * tiles * TILE_TOKENS * headDim,
    bytes: 2 * kvHeads * tiles * TILE_TOKENS * headDim * DTYPE_BYTES[keys.keys.dtype],
    shapes: shapesOf({ means: means.keys, keys: keys.keys, prefix: prefix?.keys }),
  });
}

/**
 * Checks the means of the tiles of a sequence.
 *
 * @param options Key heads and head size of the sequence, and how many tiles there must be.
 * @returns What an op takes of them.
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkMeans(
  check: OpCheck,
  options: { means: KvSegment; kvHeads: number; headDim: number; tiles: number },
): Pick<TileMeansParams, "meanKeys" | "meanValues" | "meanDtype" | "meanHeadStride"> {
  const { means, kvHeads, headDim, tiles } = options;
  const { keys, values, headStride, ...found } = check.segment("means", means);
  check.extent(
    found.kvHeads === kvHeads && found.headDim === headDim,
    `'means' must have ${kvHeads} key heads of ${headDim}`,
    `${found.kvHeads} of ${found.headDim}`,
  );
  check.extent(means.tokens >= tiles, `'means' must have the ${tiles} tiles`, means.tokens);
  return {
    meanKeys: keys,
    meanValues: values,
    meanDtype: DTYPE_CODES[means.keys.dtype],
    meanHeadStride: headStride,
  };
}
