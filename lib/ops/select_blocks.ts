/**
 * Chooses blocks by their antidiagonal mass (XAttention, arXiv 2503.16428, section 2.2):
 * `sx_select_blocks`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { bytesOf, F32, I32, OpCheck, shapesOf } from "./op_check.ts";

/** What `selectBlocks()` reads and writes. */
export interface SelectBlocksArguments {
  /** [heads, q_blocks] i32: how many key blocks each row block takes. */
  readonly counts: Tensor;
  /** [heads, q_blocks, index_stride] i32: their numbers, ascending; index_stride >= key_blocks. */
  readonly indices: Tensor;
  /** [heads, q_blocks, key_blocks] f32, from `antidiagonalScore()`. */
  readonly mass: Tensor;
  /** The number of the first row block in the sequence. */
  readonly firstBlock: number;
  /** Share of a row's mass that the chosen blocks must hold, above 0; 1 takes every causal one. */
  readonly threshold: number;
}

/**
 * Takes block 0, the diagonal block, and others in falling order of mass up to the threshold.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 */
export async function selectBlocks(device: Device, args: SelectBlocksArguments): Promise<void> {
  const check = new OpCheck(device, "selectBlocks");
  const { counts, indices, mass, firstBlock, threshold } = args;
  const [heads, qBlocks, keyBlocks] = check.cube("mass", mass);
  const [, , indexStride] = check.cube("indices", indices);
  const first = check.integer("firstBlock", firstBlock, { min: 0 });
  check.extent(threshold > 0, "'threshold' must be above 0", threshold);
  check.extent(
    firstBlock + qBlocks <= keyBlocks,
    `the row blocks must lie within ${keyBlocks} key blocks`,
    `${firstBlock} to ${firstBlock + qBlocks}`,
  );
  check.extent(
    indexStride >= keyBlocks,
    `'indices' must have room for ${keyBlocks} numbers a row`,
    indexStride,
  );
  const indicesDemand = { dtypes: I32, shape: [heads, qBlocks, indexStride] };
  await device.kernels.run("sx_select_blocks", [
    check.output("counts", counts, { dtypes: I32, shape: [heads, qBlocks] }),
    check.output("indices", indices, indicesDemand),
    check.input("mass", mass, { dtypes: F32, shape: [heads, qBlocks, keyBlocks] }),
    BigInt(heads),
    BigInt(qBlocks),
    BigInt(keyBlocks),
    first,
    BigInt(indexStride),
    threshold,
    // Sorting a row costs about log2(row) comparisons for each of its blocks.
  ], {
    flops: 4 * mass.size * Math.log2(keyBlocks + 2),
    bytes: bytesOf(mass),
    shapes: shapesOf({ counts, indices, mass }),
  });
}
