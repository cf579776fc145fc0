/**
 * @module
 */
import { antidiagonalScore, hostScore, keyMean } from "../../lib/ops/antidiagonal_score.ts";
import { makeSegment, makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly qOffset: number;
  readonly stride: number;
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
    const blocks = [Math.ceil(tokens / 128), Math.ceil((keyTokens + prefixTokens) / 128)];
    return {
      name: `${tokens} queries from ${qOffset}, ${prefixTokens} + ${keyTokens} keys, ` +
        `${qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}, stride ${stride}`,
      run: async (bench) =>
        await antidiagonalScore(bench.device, {
          mass: await bench.output("mass", "f32", [qHeads, ...blocks]),
          ...await makeSequence(bench, sizes),
          qOffset,
          stride,
        }),
    };
  });
}

twinTest("antidiagonalScore()", {
  // A cell sums up to 128 probabilities; each is off by some 1e-6 of itself.
  tolerance: { f32: { absolute: 2e-5, relative: 2e-5, cosine: 1e-9 } },
  cases: scoreCases(SIZES),
  gpu: { cases: scoreCases(GPU_SIZES) },
});

twinTest("keyMean()", {
  tolerance: { f32: F32_SUMS },
  cases: ([[1, 1, 64, "f32"], [127, 3, 128, "bf16"], [1_025, 2, 64, "f32"], [
    66_000,
    1,
    64,
    "bf16",
  ]] as const).map(([tokens, kvHeads, headDim, kvDtype]): TwinCase => ({
    name: `${tokens} ${kvDtype} keys, ${kvHeads} heads of ${headDim}`,
    run: async (bench) =>
      await keyMean(bench.device, {
        out: await bench.output("out", "f32", [kvHeads, headDim]),
        keys: await makeSegment(bench, "keys", {
          ...{ tokens: 0, keyTokens: tokens, qHeads: kvHeads, kvHeads, headDim, kvDtype },
          offset: 0,
        }),
      }),
  })),
});

/** Fewer keys than queries, none, a group that is not full, one token, tiled key heads. */
const HOST_SIZES: readonly (SequenceSizes & { readonly stride: number })[] = [
  { tokens: 1, keyTokens: 100, qHeads: 4, kvHeads: 2, headDim: 64, stride: 16 },
  { tokens: 16, keyTokens: 100, qHeads: 4, kvHeads: 2, headDim: 64, stride: 16 },
  { tokens: 37, keyTokens: 100, qHeads: 8, kvHeads: 2, headDim: 128, stride: 16, kvDtype: "bf16" },
  { tokens: 37, keyTokens: 9, qHeads: 6, kvHeads: 3, headDim: 64, stride: 8 },
  { tokens: 20, keyTokens: 0, qHeads: 4, kvHeads: 1, headDim: 64, stride: 1 },
  { tokens: 130, keyTokens: 129, qHeads: 2, kvHeads: 2, headDim: 64, stride: 128 },
];

twinTest("hostScore()", {
  // Sums of up to 130 * 128 products: near 100, and off by some 2^-24 * sqrt(terms) of that.
  tolerance: { f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } },
  cases: HOST_SIZES.map((sizes): TwinCase => ({
    name: `${sizes.tokens} queries, ${sizes.keyTokens} keys, ${sizes.qHeads}/${sizes.kvHeads} ` +
      `heads, stride ${sizes.stride}`,
    run: async (bench) => {
      const { q, keys, scale } = await makeSequence(bench, sizes);
      await hostScore(bench.device, {
        score: await bench.output("score", "f32", [sizes.qHeads]),
        q,
        anchorMean: await bench.floats("anchorMean", [sizes.kvHeads, sizes.headDim]),
        keys,
        stride: sizes.stride,
        scale,
      });
    },
  })),
});

refusalTest("sx_antidiagonal_score", (scene) => ({
  args: [
    scene.zeros("f32", [2, 1, 2]),
    scene.zeros("f32", [2, 2, 64]),
    scene.zeros("f32", [1, 2, 64]),
    scene.zeros("f32", [1, 128, 64]),
    0,
    0,
    2n,
    128n,
    2n,
    128n,
    2n,
    1n,
    64n,
    64n,
    128n,
    64n,
    8192n,
    16n,
    0.125,
  ],
  bf16OnGpu: [4, 5],
  // Offset, prefix, number of keys, stride.
  faults: [[7, 127n], [7, 0n], [9, 127n], [8, 3n], [17, 0n], [17, 24n], [17, 256n], [12, 63n]],
}));

refusalTest("sx_key_mean", (scene) => ({
  args: [scene.zeros("f32", [1, 64]), scene.zeros("f32", [1, 4, 64]), 0, 4n, 1n, 64n, 64n, 256n],
  faults: [[2, 2], [3, 0n]],
}));

refusalTest("sx_host_score", (scene) => ({
  args: [
    scene.zeros("f32", [2]),
    scene.zeros("f32", [3, 2, 64]),
    scene.zeros("f32", [1, 64]),
    scene.zeros("f32", [1, 4, 64]),
    0,
    0,
    3n,
    4n,
    2n,
    1n,
    64n,
    64n,
    256n,
    16n,
    0.125,
  ],
  bf16OnGpu: [4, 5],
  faults: [[13, 0n], [4, 1], [9, 0n]],
}));
