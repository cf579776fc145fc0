/**
 * Chooses tiles by their antidiagonal mass (XAttention, arXiv 2503.16428, section 2.2):
 * `sx_select_tiles`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { bytesOf, F32, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `selectTiles()` reads and writes. */
export interface SelectTilesArguments {
  /** [heads, q_tiles] i32: how many key tiles each row of tiles takes. */
  readonly counts: Tensor;
  /** [heads, q_tiles, index_stride] i32: their numbers, ascending; index_stride >= key_tiles. */
  readonly indices: Tensor;
  /** [heads, q_tiles, key_tiles] f32, from `antidiagonalScore()`. */
  readonly mass: Tensor;
  /** The number of the first row of tiles in the sequence. */
  readonly firstTile: number;
  /**
   * Share of a row's mass that the chosen tiles must hold, or [heads] f32, one for each head: 0 takes
   * the first tile and the diagonal one alone, 1 every causal one.
   */
  readonly threshold: number | Tensor;
  /**
   * Whether each tile must hold the threshold's share of the row by itself; then 0 takes every causal
   * tile.
   *
   * @default {false}
   */
  readonly byShare?: boolean | undefined;
  /** As in `attentionDense()`: tiles before it are not there. @default {0} */
  readonly window?: number | undefined;
  /** Keys of the prefix, in whole tiles. @default {0} */
  readonly prefixTokens?: number | undefined;
  /** Positions between the prefix and the first own key. @default {0} */
  readonly prefixGap?: number | undefined;
}

/**
 * Takes tile 0, the diagonal tile, and others in falling order of mass up to the threshold; or, by
 * share, the diagonal tile and each other one whose mass is large enough.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function selectTiles(device: Device, args: SelectTilesArguments): Promise<void> {
  const check = new OpCheck(device, "selectTiles");
  const { counts, indices, mass, firstTile, threshold } = args;
  const { window = 0, prefixTokens = 0, prefixGap = 0, byShare = false } = args;
  const [heads, qTiles, keyTiles] = check.cube("mass", mass);
  const [, , indexStride] = check.cube("indices", indices);
  check.integer("firstTile", firstTile, { min: 0 });
  const ofHeads = typeof threshold === "number"
    ? 0n
    : check.input("threshold", threshold, { dtypes: F32, shape: [heads] });
  const ofAll = typeof threshold === "number" ? threshold : 0;
  check.extent(ofAll >= 0, "'threshold' must be at least 0", ofAll);
  check.extent(
    firstTile + qTiles <= keyTiles,
    `the rows of tiles must lie within ${keyTiles} key tiles`,
    `${firstTile} to ${firstTile + qTiles}`,
  );
  check.extent(
    indexStride >= keyTiles,
    `'indices' must have room for ${keyTiles} numbers a row`,
    indexStride,
  );
  const indicesDemand = { dtypes: I32, shape: [heads, qTiles, indexStride] };
  await device.kernels.run("sx_select_tiles", {
    counts: check.output("counts", counts, { dtypes: I32, shape: [heads, qTiles] }),
    indices: check.output("indices", indices, indicesDemand),
    mass: check.input("mass", mass, { dtypes: F32, shape: [heads, qTiles, keyTiles] }),
    heads,
    qTiles,
    keyTiles,
    firstTile,
    indexStride,
    window: check.integer("window", window, { min: 0 }),
    prefixTokens: check.integer("prefixTokens", prefixTokens, { min: 0 }),
    prefixGap: check.integer("prefixGap", prefixGap, { min: 0 }),
    headThresholds: ofHeads,
    threshold: ofAll,
    byShare: byShare ? 1 : 0,
    // Sorting a row costs about log2(row) comparisons for each of its tiles.
  }, {
    flops: 4 * mass.size * Math.log2(keyTiles + 2),
    bytes: bytesOf(mass),
    shapes: shapesOf({ counts, indices, mass }),
  });
}
