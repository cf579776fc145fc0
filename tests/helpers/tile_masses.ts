/**
 * What the tests of the ops that give a mass to each tile share.
 *
 * @module
 */
import type { AntidiagonalScoreParams } from "../../lib/ffi/attention_params.ts";
import type { Scene } from "./refusal.ts";

/** A valid call for `refusalTest()`: two queries behind a prefix of a tile, two heads that share keys. */
export function massParams(scene: Scene): AntidiagonalScoreParams {
  return {
    mass: scene.zeros("f32", [2, 1, 2]),
    q: scene.zeros("f32", [2, 2, 64]),
    kv: {
      keys: scene.zeros("f32", [1, 2, 64]),
      values: 0n,
      prefixValues: 0n,
      prefixKeys: scene.zeros("f32", [1, 128, 64]),
      dtype: 0,
      keyTokens: 2,
      prefixTokens: 128,
      kvHeads: 1,
      headDim: 64,
      tokenStride: 64,
      headStride: 128,
      prefixTokenStride: 64,
      prefixHeadStride: 8192,
      prefixGap: 0,
    },
    qDtype: 0,
    qTokens: 2,
    qOffset: 128,
    qHeads: 2,
    window: 0,
    stride: 16,
    scale: 0.125,
  };
}

/**
 * What a call for some queries of a sequence must give, by the call for all of them.
 *
 * @param whole The mass of all tiles: [heads, tiles, tiles].
 * @returns [heads, rows, columns] from query `qOffset` on, a multiple of 128; `columns` are those that
 *   the last of the `tokens` queries sees.
 */
export function massOfChunk(
  whole: Float32Array,
  chunk: { heads: number; qOffset: number; tokens: number; allTokens: number },
): { mass: Float32Array<ArrayBuffer>; shape: [heads: number, rows: number, columns: number] } {
  const { heads, qOffset, tokens, allTokens } = chunk;
  const tilesOf = (count: number) => Math.ceil(count / 128);
  const [width, rows, columns] = [tilesOf(allTokens), tilesOf(tokens), tilesOf(qOffset + tokens)];
  const mass = Float32Array.from({ length: heads * rows * columns }, (_, i) => {
    const [head, row] = [Math.floor(i / columns / rows), Math.floor(i / columns) % rows];
    return whole[(head * width + qOffset / 128 + row) * width + i % columns] ?? NaN;
  });
  return { mass, shape: [heads, rows, columns] };
}
