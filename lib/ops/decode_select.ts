/**
 * Chooses the tiles of keys that a decode step reads, by a short form of their keys:
 * `sx_decode_select`.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../device/tensor.ts";
import { DTYPE_CODES } from "../ffi/status.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { checkFewQueries } from "./attention_decode.ts";
import { checkCodes, type CodedMeans } from "./key_codes.ts";
import { F32, I32, OpCheck, shapesOf } from "./op_check.ts";

/** How many tiles are chosen: a share of each unit's tiles, or of its mass; above 0, at most 1. */
export type DecodeKeep = { readonly share: number } | { readonly threshold: number };

/** Lists of tiles of B sequences, for each key head. */
export interface TileLists {
  /** [B, kv_heads] i32: how many tiles are chosen. */
  readonly counts: Tensor;
  /** [B, kv_heads, index_stride] i32: their numbers, ascending, then those of the others, ascending. */
  readonly indices: Tensor;
}

/** What `decodeSelect()` reads and writes; B sequences with T queries each. */
export interface DecodeSelectArguments extends TileLists {
  /** [B, kv_heads, index_stride] f32: what each tile is chosen by. */
  readonly mass: Tensor;
  /** [B * T, q_heads, head_dim] f32 (CPU) or bf16 (CUDA). */
  readonly q: Tensor;
  /** A row for each tile of the cache, all sequences together; their values are not read. */
  readonly means: CodedMeans;
  /** [B] i32: the row of the cache that each sequence begins at, a multiple of 128. @default {0} */
  readonly firstRow?: Tensor | undefined;
  /** [B] i32: how many tiles of each sequence have a mean, from its first on. */
  readonly pooledTiles: Tensor;
  /** How many are chosen. */
  readonly keep: DecodeKeep;
  /** So many tiles are chosen among by themselves, from the first on; 0: all. @default {0} */
  readonly unitTiles?: number | undefined;
  /** The first tiles of a sequence that are always chosen. @default {1} */
  readonly firstTiles?: number | undefined;
  /** Factor of the logits, usually 1 / sqrt(head_dim). */
  readonly scale: number;
}

/**
 * Chooses, for each sequence and key head, the tiles of the largest mass over its queries and heads.
 *
 * @throws {TypeError} If a dtype or rank is wrong or a tensor is disposed.
 * @throws {RangeError} If extents do not fit.
 * @throws {KernelError} If a first row or a number of tiles is out of range.
 */
export async function decodeSelect(device: Device, args: DecodeSelectArguments): Promise<void> {
  const check = new OpCheck(device, "decodeSelect");
  const { counts, indices, mass, q, means, firstRow, pooledTiles, keep } = args;
  const { unitTiles = 0, firstTiles = 1 } = args;
  const [rows, qHeads, headDim] = check.cube("q", q);
  const [, kvHeads, indexStride] = check.cube("indices", indices);
  const sequences = pooledTiles.size;
  check.extent(
    kvHeads > 0 && qHeads % kvHeads === 0,
    `query heads must be a multiple of the ${kvHeads} key heads`,
    qHeads,
  );
  check.cacheDtype("means", means);
  const coded = checkCodes(check, { means, kvHeads, headDim });
  const [name, wanted] = "share" in keep ? ["share", keep.share] : ["threshold", keep.threshold];
  check.extent(
    Math.fround(wanted) > 0 && wanted <= 1,
    `'${name}' must be above 0, at most 1`,
    wanted,
  );
  const perSequence = { dtypes: I32, shape: [sequences] };
  const shape = [sequences, kvHeads, indexStride];
  const qTokens = checkFewQueries(check, { rows, sequences });
  await device.kernels.run("sx_decode_select", {
    counts: check.output("counts", counts, { dtypes: I32, shape: [sequences, kvHeads] }),
    indices: check.output("indices", indices, { dtypes: I32, shape }),
    mass: check.output("mass", mass, { dtypes: F32, shape }),
    q: check.input("q", q, { dtypes: [device.queryDtype], shape: [rows, qHeads, headDim] }),
    qDtype: DTYPE_CODES[q.dtype],
    ...coded,
    kvDtype: DTYPE_CODES[means.keys.dtype],
    firstRow: firstRow === undefined ? 0n : check.input("firstRow", firstRow, perSequence),
    pooledTiles: check.input("pooledTiles", pooledTiles, perSequence),
    byThreshold: name === "threshold" ? 1 : 0,
    sequences,
    qTokens,
    meanCapacity: means.tokens,
    indexStride,
    unitTiles: check.integer("unitTiles", unitTiles, { min: 0 }),
    firstTiles: check.integer("firstTiles", firstTiles, { min: 0 }),
    qHeads,
    kvHeads,
    headDim,
    scale: check.finite("scale", args.scale),
    keep: wanted,
  }, {
    flops: 2 * headDim * rows * qHeads * indexStride * TILE_TOKENS,
    bytes: kvHeads * sequences * indexStride * TILE_TOKENS * headDim / 4,
    shapes: shapesOf({ counts, indices, q, means: means.keys }),
  });
}
