/**
 * Antidiagonal selection of tiles on plain arrays (XAttention, arXiv 2503.16428, section 2), so that
 * one can look at masses and masks.
 *
 * @module
 */
import { openCpuDevice } from "../device/cpu.ts";
import { Tensor } from "../device/tensor.ts";
import { antidiagonalScore } from "../ops/antidiagonal_score.ts";
import { selectTiles as selectOnDevice } from "../ops/select_tiles.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";

/** Queries and keys of one layer after RoPE, and how to select. */
export interface SelectionInput {
  /** [tokens, queryHeads, headDim] row by row. */
  readonly queries: Float32Array<ArrayBuffer>;
  /** [tokens, kvHeads, headDim] row by row. */
  readonly keys: Float32Array<ArrayBuffer>;
  /** A multiple of `kvHeads`. */
  readonly queryHeads: number;
  /** A divisor of `queryHeads`. */
  readonly kvHeads: number;
  /** 64 or 128. */
  readonly headDim: number;
  /** Tokens per group of the antidiagonal sums, a divisor of 128. */
  readonly stride: number;
  /** Share of a row's mass that the selected tiles must hold, above 0; 1 takes all causal ones. */
  readonly threshold: number;
}

/** What was selected. A tile is (head, row of tiles, column of tiles), row by row. */
export interface Selection {
  /** [queryHeads, tiles, tiles]. */
  readonly shape: readonly [number, number, number];
  /** The share of each row of groups that falls into a tile, summed over the rows of the tile. */
  readonly mass: Float32Array<ArrayBuffer>;
  /** 1 where the tile is computed. */
  readonly mask: Uint8Array<ArrayBuffer>;
  /** Selected tiles over causal tiles, 0 to 1. */
  readonly density: number;
}

/**
 * Selects the 128 x 128 tiles of a causal attention matrix that matter.
 *
 * @throws {RangeError} If lengths do not fit, or stride or threshold is out of its range.
 * @throws {DeviceError} If the kernel library cannot be used.
 * @example All queries look at the first tile's keys, so that it and the diagonal are selected.
 * ```ts
 * import { selectAttentionBlocks } from "@starx/starx";
 * import { deepEqual } from "node:assert/strict";
 * const [tokens, headDim] = [384, 64];
 * const queries = new Float32Array(tokens * headDim).fill(1);
 * const keys = new Float32Array(tokens * headDim);
 * keys.fill(1, 0, 128 * headDim);
 * const { mask, shape } = await selectAttentionBlocks({
 *   ...{ queries, keys, queryHeads: 1, kvHeads: 1, headDim, stride: 16, threshold: 0.9 },
 * });
 * deepEqual(shape, [1, 3, 3]);
 * deepEqual([...mask], [1, 0, 0, 1, 1, 0, 1, 0, 1]);
 * ```
 */
export async function selectAttentionBlocks(input: SelectionInput): Promise<Selection> {
  const { queryHeads, kvHeads, headDim, stride, threshold } = input;
  const tokens = countTokens(input);
  const tiles = Math.ceil(tokens / TILE_TOKENS);
  const shape = [queryHeads, tiles, tiles] as const;
  using device = await openCpuDevice({ threads: 1 });
  using owned = new DisposableStack();
  const allocate = (dtype: "f32" | "i32", shape: readonly number[], label: string): Tensor =>
    owned.use(Tensor.allocate(device, { dtype, shape, label }));
  const q = allocate("f32", [tokens, queryHeads, headDim], "queries");
  await q.writeFrom(input.queries);
  const keys = allocate("f32", [kvHeads, tokens, headDim], "keys");
  await keys.writeFrom(headsFirst(input, tokens));
  const mass = allocate("f32", shape, "mass");
  const counts = allocate("i32", [queryHeads, tiles], "counts");
  const indices = allocate("i32", shape, "indices");
  const segment = { keys, values: keys, start: 0, tokens };
  const scale = 1 / Math.sqrt(headDim);
  await antidiagonalScore(device, { mass, q, keys: segment, qOffset: 0, stride, scale });
  await selectOnDevice(device, { counts, indices, mass, firstTile: 0, threshold });
  const numbers = await counts.toInts();
  const mask = drawMask({ counts: numbers, indices: await indices.toInts(), tiles });
  const selected = numbers.reduce((sum, count) => sum + count, 0);
  const causal = queryHeads * tiles * (tiles + 1) / 2;
  return { shape, mass: await mass.toFloats(), mask, density: selected / causal };
}

/** @throws {RangeError} If queries and keys do not hold the same whole number of tokens. */
function countTokens(input: SelectionInput): number {
  const { queries, keys, queryHeads, kvHeads, headDim } = input;
  const tokens = queries.length / (queryHeads * headDim);
  if (!Number.isInteger(tokens) || tokens < 1) {
    throw new RangeError(
      `Cannot select tiles as 'queries' must hold a multiple of ${queryHeads} x ${headDim} ` +
        `numbers: current value is ${queries.length}`,
    );
  }
  if (keys.length !== tokens * kvHeads * headDim) {
    throw new RangeError(
      `Cannot select tiles as 'keys' must hold ${tokens} x ${kvHeads} x ${headDim} numbers: ` +
        `current value is ${keys.length}`,
    );
  }
  return tokens;
}

/** [tokens, heads, d] to [heads, tokens, d]. */
function headsFirst(input: SelectionInput, tokens: number): Float32Array<ArrayBuffer> {
  const { keys, kvHeads, headDim } = input;
  const out = new Float32Array(keys.length);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < kvHeads; head++) {
      const from = (token * kvHeads + head) * headDim;
      out.set(keys.subarray(from, from + headDim), (head * tokens + token) * headDim);
    }
  }
  return out;
}

function drawMask(
  lists: { counts: Int32Array; indices: Int32Array; tiles: number },
): Uint8Array<ArrayBuffer> {
  const { counts, indices, tiles } = lists;
  const mask = new Uint8Array(indices.length);
  counts.forEach((count, row) => {
    for (const tile of indices.subarray(row * tiles, row * tiles + count)) {
      mask[row * tiles + tile] = 1;
    }
  });
  return mask;
}
