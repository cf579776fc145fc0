/**
 * Attention of few queries of some sequences against chosen tiles of a long cache, and the means of the
 * others: `sx_attention_decode_tiles`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { isScaled, type KvSegment } from "../device/kv_segment.ts";
import type { Tensor } from "../device/tensor.ts";
import { type AttentionDecodeArguments, checkDecode, decodeCost } from "./attention_decode.ts";
import type { TileLists } from "./decode_select.ts";
import { I32, OpCheck, shapesOf } from "./op_check.ts";
import { checkMeans } from "./tile_means.ts";

/** What `attentionDecodeTiles()` reads and writes. */
export interface AttentionDecodeTilesArguments
  extends Omit<AttentionDecodeArguments, "window">, TileLists {
  /** A row for each tile of the cache, all sequences together; of the keys' dtype, or of floats. */
  readonly means: KvSegment;
  /** [B] i32: how many tiles of each sequence have a mean, from its first on. */
  readonly pooledTiles: Tensor;
}

/**
 * As `attentionDecode()` over the chosen tiles and what follows on the pooled ones, each other tile
 * being one key, its mean, of the weight of 128. Where all tiles are chosen, every bit is that of
 * `attentionDecode()`.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 * @throws {KernelError} If a first row, a number of keys or a list is out of range.
 */
export async function attentionDecodeTiles(
  device: Device,
  args: AttentionDecodeTilesArguments,
): Promise<void> {
  const check = new OpCheck(device, "attentionDecodeTiles");
  const { out, lse, q, keys, means, pooledTiles, counts, indices } = args;
  const attention = checkDecode(check, args, { device });
  const { kvHeads, headDim, sequences, kvDtype, sequenceCapacity } = attention;
  const [, , indexStride] = check.cube("indices", indices);
  const { meanKeys, meanValues, meanDtype, meanHeadStride } = checkMeans(check, {
    ...{ means, kvHeads, headDim },
    tiles: 0,
  });
  check.extent(
    meanDtype === kvDtype || isScaled(keys.keys.dtype),
    `'means' must be ${keys.keys.dtype} as 'keys' is`,
    means.keys.dtype,
  );
  const read = Math.min(keys.tokens, sequences * sequenceCapacity);
  await device.kernels.run("sx_attention_decode_tiles", {
    attention,
    meanKeys,
    meanValues,
    meanDtype,
    pooledTiles: check.input("pooledTiles", pooledTiles, { dtypes: I32, shape: [sequences] }),
    counts: check.input("counts", counts, { dtypes: I32, shape: [sequences, kvHeads] }),
    indices: check.input("indices", indices, {
      dtypes: I32,
      shape: [sequences, kvHeads, indexStride],
    }),
    indexStride,
    meanCapacity: means.tokens,
    meanHeadStride,
  }, {
    // How many are chosen is known to the device alone: no more than all.
    ...decodeCost(attention, read),
    shapes: shapesOf({ out, lse, q, keys: keys.keys, means: means.keys, indices }),
  });
}
