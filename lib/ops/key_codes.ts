/**
 * Keys of tiles in two bits a number, by which `decodeSelect()` tells which tiles matter: `sx_key_codes`.
 *
 * @module
 */
import { type Device, DTYPE_BYTES } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import type { DecodeSelectParams } from "../ffi/attention_params.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { I32, OpCheck, shapesOf } from "./op_check.ts";
import { checkMeans } from "./tile_means.ts";

/** Numbers of a key that a word of 32 bits has the codes of. */
export const CODES_PER_WORD = 16;

/** The means of tiles, a row for each, and a short form of the keys that they are means of. */
export interface CodedMeans extends KvSegment {
  /** [kv_heads, tiles, head_dim], as `keys`: how far a tile's keys are from their mean. */
  readonly spread: Tensor;
  /** [kv_heads, 128 * tiles, head_dim / 16] i32: where each number of a key lies about the mean. */
  readonly codes: Tensor;
}

/** What `keyCodes()` reads and writes. */
export interface KeyCodesArguments {
  /** The means of the first tiles, from `tileMeans()`; what else they have is written. */
  readonly means: CodedMeans;
  /** 128 for each tile. */
  readonly keys: KvSegment;
}

/**
 * Writes the codes of the keys of whole tiles, and their spread.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function keyCodes(device: Device, args: KeyCodesArguments): Promise<void> {
  const check = new OpCheck(device, "keyCodes");
  const { means, keys } = args;
  check.cacheDtype("keys", keys);
  const { keys: address, kvHeads, headDim, tokenStride, headStride } = check.segment("keys", keys);
  check.extent(
    keys.tokens === means.tokens * TILE_TOKENS && (keys.absent ?? 0) === 0,
    `'keys' must be those of the ${means.tokens} tiles`,
    keys.tokens,
  );
  const { meanKeys, spread, codes, meanHeadStride, codeHeadStride } = checkCodes(check, {
    ...{ means, kvHeads, headDim },
  });
  const { keys: { dtype } } = keys;
  await device.kernels.run("sx_key_codes", {
    codes,
    spread,
    meanKeys,
    meanDtype: DTYPE_CODES[means.keys.dtype],
    keys: address,
    kvDtype: DTYPE_CODES[dtype],
    keyTokens: keys.tokens,
    kvHeads,
    headDim,
    tokenStride,
    headStride,
    firstTile: 0,
    tileCount: means.tokens,
    meanHeadStride,
    codeHeadStride,
  }, {
    flops: 3 * kvHeads * keys.tokens * headDim,
    bytes: kvHeads * keys.tokens * headDim * (DTYPE_BYTES[dtype] + 0.25),
    shapes: shapesOf({ codes: means.codes, means: means.keys, keys: keys.keys }),
  });
}

/**
 * Checks means with the codes of their keys.
 *
 * @param options Key heads and head size of the sequence.
 * @returns What an op takes of them.
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export function checkCodes(
  check: OpCheck,
  options: { means: CodedMeans; kvHeads: number; headDim: number },
): Pick<
  DecodeSelectParams,
  "meanKeys" | "spread" | "codes" | "meanHeadStride" | "codeHeadStride"
> {
  const { means, kvHeads, headDim } = options;
  const { keys, start, spread, codes } = means;
  const { meanKeys, meanHeadStride } = checkMeans(check, { ...options, tiles: 0 });
  const [, capacity = 0] = keys.shape;
  const words = headDim / CODES_PER_WORD;
  const row = BigInt(start * headDim * DTYPE_BYTES[keys.dtype]);
  const like = { dtypes: [keys.dtype], shape: keys.shape };
  const shape = [kvHeads, capacity * TILE_TOKENS, words];
  return {
    meanKeys,
    meanHeadStride,
    spread: check.output("spread", spread, like) + row,
    codes: check.output("codes", codes, { dtypes: I32, shape }) +
      BigInt(start * TILE_TOKENS * words * DTYPE_BYTES.i32),
    codeHeadStride: capacity * TILE_TOKENS * words,
  };
}
