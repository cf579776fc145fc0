/**
 * @module
 */
import { antidiagonalScore } from "../../lib/ops/antidiagonal_score.ts";
import { makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { massParams } from "../helpers/tile_masses.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly qOffset: number;
  readonly stride: number;
  readonly window?: number;
  readonly prefixGap?: number;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, keyTokens: 1, qHeads: 1, kvHeads: 1, headDim: 64, stride: 16 },
  { tokens: 127, qOffset: 0, keyTokens: 127, qHeads: 4, kvHeads: 1, headDim: 64, stride: 16 },
  { tokens: 128, qOffset: 0, keyTokens: 128, qHeads: 2, kvHeads: 2, headDim: 128, stride: 8 },
  {
    tokens: 129,
    qOffset: 0,
    keyTokens: 129,
    qHeads: 8,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
    stride: 128,
  },
  { tokens: 260, qOffset: 0, keyTokens: 260, qHeads: 2, kvHeads: 1, headDim: 64, stride: 1 },
  {
    tokens: 300,
    qOffset: 256,
    prefixTokens: 256,
    keyTokens: 300,
    qHeads: 4,
    kvHeads: 2,
    headDim: 64,
    kvDtype: "bf16",
    stride: 16,
  },
  {
    tokens: 250,
    qOffset: 640,
    prefixTokens: 128,
    keyTokens: 762,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
    stride: 64,
  },
  { tokens: 1_000, qOffset: 0, keyTokens: 1_000, qHeads: 3, kvHeads: 3, headDim: 64, stride: 4 },
  {
    tokens: 500,
    qOffset: 0,
    keyTokens: 500,
    qHeads: 4,
    kvHeads: 2,
    headDim: 64,
    stride: 16,
    window: 200,
  },
  {
    tokens: 400,
    qOffset: 256,
    prefixTokens: 256,
    prefixGap: 128,
    keyTokens: 400,
    qHeads: 2,
    kvHeads: 1,
    headDim: 128,
    stride: 8,
    window: 330,
  },
  // Windows that hide the first 128 groups of keys from all rows.
  {
    tokens: 130,
    qOffset: 2_432,
    keyTokens: 2_562,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
    stride: 8,
    window: 300,
  },
  {
    tokens: 300,
    qOffset: 1_280,
    prefixTokens: 256,
    keyTokens: 1_324,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
    kvDtype: "bf16",
    stride: 4,
    window: 200,
  },
];

/** Several tiles of 128 groups each way, whole and not, a prefix that ends inside of one. */
const GPU_SIZES: readonly Sizes[] = [
  { tokens: 2_200, qOffset: 0, keyTokens: 2_200, qHeads: 2, kvHeads: 1, headDim: 64, stride: 16 },
  {
    tokens: 700,
    qOffset: 640,
    prefixTokens: 384,
    keyTokens: 956,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
    stride: 8,
  },
  {
    tokens: 500,
    qOffset: 128,
    prefixTokens: 128,
    keyTokens: 500,
    qHeads: 2,
    kvHeads: 2,
    headDim: 64,
    stride: 2,
  },
  { tokens: 1_100, qOffset: 0, keyTokens: 1_100, qHeads: 2, kvHeads: 1, headDim: 128, stride: 32 },
  // One tile of rows, and more columns of tiles than a prefix of half a tile fills.
  {
    tokens: 130,
    qOffset: 2_432,
    prefixTokens: 1_152,
    keyTokens: 1_410,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    stride: 2,
  },
  // All keys but the last group lie in the prefix; all of them, and the diagonal is among them.
  {
    tokens: 5,
    qOffset: 2_176,
    prefixTokens: 2_176,
    keyTokens: 5,
    qHeads: 2,
    kvHeads: 1,
    headDim: 128,
    stride: 8,
  },
  {
    tokens: 256,
    qOffset: 0,
    prefixTokens: 256,
    keyTokens: 0,
    qHeads: 4,
    kvHeads: 1,
    headDim: 64,
    stride: 16,
  },
  // Row tiles of several lengths in a band, not a power of two of query heads per key head.
  { tokens: 1_300, qOffset: 0, keyTokens: 1_300, qHeads: 6, kvHeads: 2, headDim: 64, stride: 4 },
];

function scoreCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { tokens, qOffset, keyTokens, prefixTokens = 0, qHeads, stride } = sizes;
    const tiles = [Math.ceil(tokens / 128), Math.ceil((keyTokens + prefixTokens) / 128)];
    return {
      name: `${tokens} queries from ${qOffset}, ${prefixTokens} + ${keyTokens} keys, ` +
        `${qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}, stride ${stride}, window ${
          sizes.window ?? 0
        }`,
      run: async (bench) =>
        await antidiagonalScore(bench.device, {
          mass: await bench.output("mass", "f32", [qHeads, ...tiles]),
          ...await makeSequence(bench, sizes),
          qOffset,
          stride,
          window: sizes.window,
          prefixGap: sizes.prefixGap,
        }),
    };
  });
}

twinTest("antidiagonalScore()", {
  // A tile sums up to 128 probabilities; each is off by some 1e-6 of itself.
  tolerance: { f32: { absolute: 2e-5, relative: 2e-5, cosine: 1e-9 } },
  cases: scoreCases(SIZES),
  gpu: { cases: scoreCases(GPU_SIZES) },
});

refusalTest("sx_antidiagonal_score", (scene) => ({
  params: massParams(scene),
  unchecked: ["kv.values", "kv.prefixValues"],
  bf16OnGpu: ["qDtype", "kv.dtype"],
  // Offset, prefix, number of keys, stride.
  faults: [
    ["qOffset", 127],
    ["qOffset", 0],
    ["kv.prefixTokens", 127],
    ["kv.keyTokens", 3],
    ["stride", 0],
    ["stride", 24],
    ["stride", 256],
    ["kv.headDim", 63],
  ],
}));
