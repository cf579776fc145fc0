/**
 * @module
 */
import { keyMean, rankScore } from "../../lib/ops/rank_score.ts";
import { makeSegment, makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

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
const SCORE_SIZES: readonly (SequenceSizes & { readonly stride: number })[] = [
  { tokens: 1, keyTokens: 100, qHeads: 4, kvHeads: 2, headDim: 64, stride: 16 },
  { tokens: 16, keyTokens: 100, qHeads: 4, kvHeads: 2, headDim: 64, stride: 16 },
  { tokens: 37, keyTokens: 100, qHeads: 8, kvHeads: 2, headDim: 128, stride: 16, kvDtype: "bf16" },
  { tokens: 37, keyTokens: 9, qHeads: 6, kvHeads: 3, headDim: 64, stride: 8 },
  { tokens: 20, keyTokens: 0, qHeads: 4, kvHeads: 1, headDim: 64, stride: 1 },
  { tokens: 130, keyTokens: 129, qHeads: 2, kvHeads: 2, headDim: 64, stride: 128 },
];

twinTest("rankScore()", {
  // Sums of up to 130 * 128 products: near 100, and off by some 2^-24 * sqrt(terms) of that.
  tolerance: { f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } },
  cases: SCORE_SIZES.map((sizes): TwinCase => ({
    name: `${sizes.tokens} queries, ${sizes.keyTokens} keys, ${sizes.qHeads}/${sizes.kvHeads} ` +
      `heads, stride ${sizes.stride}`,
    run: async (bench) => {
      const { q, keys, scale } = await makeSequence(bench, sizes);
      await rankScore(bench.device, {
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

refusalTest("sx_key_mean", (scene) => ({
  params: {
    out: scene.zeros("f32", [1, 64]),
    keys: scene.zeros("f32", [1, 4, 64]),
    kvDtype: 0,
    tokens: 4,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
  },
  faults: [["kvDtype", 2], ["tokens", 0]],
}));

refusalTest("sx_rank_score", (scene) => ({
  params: {
    score: scene.zeros("f32", [2]),
    q: scene.zeros("f32", [3, 2, 64]),
    anchorMean: scene.zeros("f32", [1, 64]),
    keys: scene.zeros("f32", [1, 4, 64]),
    qDtype: 0,
    kvDtype: 0,
    qTokens: 3,
    keyTokens: 4,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    stride: 16,
    scale: 0.125,
  },
  bf16OnGpu: ["qDtype", "kvDtype"],
  faults: [["stride", 0], ["qDtype", 1], ["kvHeads", 0]],
}));
