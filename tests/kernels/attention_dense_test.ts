/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { attentionDense } from "../../lib/ops/attention_dense.ts";
import { assertEquals } from "../helpers/assert.ts";
import { makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { withCpu } from "../helpers/device.ts";
import { roundToBf16 } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly qOffset: number;
  readonly outDtype?: DType;
  readonly lse?: boolean;
  readonly window?: number;
  readonly prefixGap?: number;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, keyTokens: 1, qHeads: 1, kvHeads: 1, headDim: 64 },
  { tokens: 0, qOffset: 0, keyTokens: 5, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 3, qOffset: 9, keyTokens: 0, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 127, qOffset: 0, keyTokens: 127, qHeads: 4, kvHeads: 1, headDim: 64, kvDtype: "bf16" },
  { tokens: 128, qOffset: 0, keyTokens: 128, qHeads: 2, kvHeads: 2, headDim: 128 },
  { tokens: 129, qOffset: 0, keyTokens: 129, qHeads: 8, kvHeads: 1, headDim: 64, lse: false },
  {
    tokens: 65,
    qOffset: 200,
    keyTokens: 265,
    qHeads: 8,
    kvHeads: 2,
    ...{ headDim: 128, kvDtype: "bf16", outDtype: "bf16" },
  },
  // Queries that see all keys, some keys, and a segment longer than any query sees.
  { tokens: 33, qOffset: 1_000, keyTokens: 77, qHeads: 4, kvHeads: 4, headDim: 64 },
  { tokens: 40, qOffset: 10, keyTokens: 300, qHeads: 3, kvHeads: 3, headDim: 64 },
  // Prefixes at multiples of tiles and between them, longer and shorter than the own segment.
  {
    tokens: 100,
    qOffset: 128,
    prefixTokens: 128,
    keyTokens: 100,
    qHeads: 4,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
  },
  {
    tokens: 130,
    qOffset: 77,
    prefixTokens: 77,
    keyTokens: 130,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
  },
  { tokens: 5, qOffset: 290, prefixTokens: 257, keyTokens: 38, qHeads: 8, kvHeads: 1, headDim: 64 },
  { tokens: 9, qOffset: 4, prefixTokens: 31, keyTokens: 0, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 20, qOffset: 0, prefixTokens: 1, keyTokens: 19, qHeads: 2, kvHeads: 2, headDim: 64 },
  // Windows: shorter and longer than a tile, over a prefix with a gap behind it, none in reach.
  { tokens: 300, qOffset: 0, keyTokens: 300, qHeads: 4, kvHeads: 2, headDim: 64, window: 37 },
  { tokens: 150, qOffset: 400, keyTokens: 550, qHeads: 2, kvHeads: 1, headDim: 128, window: 200 },
  {
    tokens: 260,
    qOffset: 128,
    prefixTokens: 128,
    prefixGap: 70,
    keyTokens: 260,
    qHeads: 4,
    kvHeads: 1,
    headDim: 64,
    window: 150,
  },
  { tokens: 20, qOffset: 320, keyTokens: 300, qHeads: 2, kvHeads: 1, headDim: 64, window: 30 },
  // Of rows that are computed together, the last ones see none of the keys that the first ones see.
  {
    tokens: 320,
    qOffset: 0,
    keyTokens: 320,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
    window: 128,
  },
  { tokens: 66_000, qOffset: 7, keyTokens: 3, qHeads: 1, kvHeads: 1, headDim: 64 },
];

/** Rows of several blocks of queries and tiles of keys, at and beside their edges. */
const GPU_SIZES: readonly Sizes[] = [
  { tokens: 300, qOffset: 700, keyTokens: 1_000, qHeads: 4, kvHeads: 1, headDim: 128 },
  { tokens: 385, qOffset: 0, keyTokens: 385, qHeads: 3, kvHeads: 3, headDim: 128 },
  { tokens: 256, qOffset: 512, keyTokens: 768, qHeads: 2, kvHeads: 1, headDim: 64 },
  {
    tokens: 257,
    qOffset: 384,
    prefixTokens: 384,
    keyTokens: 257,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
    outDtype: "bf16",
  },
  { tokens: 700, qOffset: 0, keyTokens: 700, qHeads: 2, kvHeads: 1, headDim: 128, window: 300 },
  {
    tokens: 700,
    qOffset: 300,
    prefixTokens: 300,
    prefixGap: 90,
    keyTokens: 700,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
    window: 400,
    outDtype: "bf16",
  },
  { tokens: 130, qOffset: 0, prefixTokens: 200, keyTokens: 90, qHeads: 2, kvHeads: 1, headDim: 64 },
];

const WITH_NAN = {
  tokens: 150,
  qOffset: 0,
  keyTokens: 150,
  qHeads: 2,
  kvHeads: 1,
  outDtype: "bf16",
  unread: (token: number) => token === 100,
} as const;

/**
 * Calls without a log-sum-exp, whose weights the sets with bf16 products round: chunks of keys that
 * are whole and not, rows that see all of a chunk, some or none, and one key that is NaN.
 */
const ROUNDED_SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, keyTokens: 1, qHeads: 1, kvHeads: 1, headDim: 64 },
  { tokens: 130, qOffset: 0, keyTokens: 130, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 70, qOffset: 700, keyTokens: 770, qHeads: 8, kvHeads: 2, headDim: 128 },
  {
    tokens: 200,
    qOffset: 77,
    prefixTokens: 77,
    keyTokens: 200,
    qHeads: 6,
    kvHeads: 2,
    headDim: 64,
  },
  { tokens: 40, qOffset: 10, keyTokens: 300, qHeads: 3, kvHeads: 3, headDim: 128 },
  { tokens: 9, qOffset: 4, prefixTokens: 31, keyTokens: 0, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 3, qOffset: 1_150, keyTokens: 1_153, qHeads: 4, kvHeads: 2, headDim: 64 },
  { tokens: 200, qOffset: 100, keyTokens: 300, qHeads: 6, kvHeads: 2, headDim: 64, window: 90 },
  { ...WITH_NAN, headDim: 64 },
  { ...WITH_NAN, headDim: 128 },
];

/**
 * Values that are not finite, which only queries may get that see their token: behind and before the
 * diagonal, in tiles that all rows see, and at borders of segments.
 */
const NOT_FINITE_SIZES: readonly Sizes[] = ([64, 128] as const).flatMap((headDim) => [
  {
    ...{ tokens: 300, qOffset: 0, keyTokens: 300, qHeads: 4, kvHeads: 2, headDim },
    oddValues: [
      { token: 100, dim: 5, value: NaN },
      { token: 120, dim: 5, value: Infinity },
      { token: 127, dim: 63, value: Infinity },
      { token: 128, dim: 62, value: -Infinity },
      { token: 299, dim: 0, value: NaN },
    ],
  },
  {
    ...{
      tokens: 200,
      qOffset: 77,
      prefixTokens: 77,
      keyTokens: 200,
      qHeads: 2,
      kvHeads: 1,
      headDim,
    },
    oddValues: [
      { token: 76, dim: 9, value: -Infinity },
      { token: 78, dim: 9, value: Infinity },
      { token: 150, dim: 30, value: NaN },
      { token: 206, dim: 31, value: NaN },
    ],
  },
  {
    ...{ tokens: 260, qOffset: 700, keyTokens: 960, qHeads: 3, kvHeads: 3, headDim },
    oddValues: [
      { token: 17, dim: 1, value: Infinity },
      { token: 801, dim: 2, value: NaN },
      { token: 900, dim: 3, value: NaN },
    ],
  },
  {
    ...{ tokens: 200, qOffset: 0, keyTokens: 200, qHeads: 2, kvHeads: 1, headDim },
    oddKeys: [{ token: 110, dim: 5, value: Infinity }, { token: 150, dim: 6, value: NaN }],
  },
]);

/**
 * The same in front of windows: where some rows that are computed together see the token and others do
 * not, at even and odd tokens, in the last keys of a tile, in a prefix, and in a window shorter than a
 * group of rows.
 */
const NOT_FINITE_WINDOWS: readonly Sizes[] = ([64, 128] as const).flatMap((headDim) => [
  {
    ...{ tokens: 300, qOffset: 0, keyTokens: 300, qHeads: 2, kvHeads: 1, headDim, window: 90 },
    oddValues: [
      { token: 0, dim: 0, value: Infinity },
      { token: 20, dim: 40, value: NaN },
      { token: 63, dim: 42, value: NaN },
      { token: 127, dim: 43, value: Infinity },
      { token: 140, dim: 41, value: -Infinity },
      { token: 255, dim: 44, value: NaN },
    ],
  },
  {
    ...{ tokens: 60, qOffset: 500, keyTokens: 560, qHeads: 3, kvHeads: 3, headDim, window: 3 },
    oddValues: [
      { token: 500, dim: 1, value: NaN },
      { token: 511, dim: 2, value: -Infinity },
      { token: 530, dim: 3, value: NaN },
      { token: 559, dim: 4, value: Infinity },
    ],
  },
  {
    ...{ tokens: 260, qOffset: 128, prefixTokens: 128, prefixGap: 70, keyTokens: 260, qHeads: 4 },
    ...{ kvHeads: 1, headDim, window: 150 },
    oddValues: [
      { token: 75, dim: 9, value: NaN },
      { token: 127, dim: 10, value: Infinity },
      { token: 128, dim: 11, value: -Infinity },
      { token: 199, dim: 12, value: NaN },
    ],
  },
  {
    ...{ tokens: 250, qOffset: 0, keyTokens: 250, qHeads: 2, kvHeads: 1, headDim, window: 40 },
    oddKeys: [{ token: 101, dim: 5, value: -Infinity }, { token: 200, dim: 6, value: NaN }],
  },
]);

function denseCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { tokens, qOffset, keyTokens, prefixTokens = 0, qHeads, kvHeads, headDim } = sizes;
    const { kvDtype = "f32", outDtype = "f32", lse = true, window = 0, prefixGap = 0 } = sizes;
    return {
      bf16: kvDtype === "bf16",
      name: `${tokens} queries from ${qOffset}, ${prefixTokens} + ${keyTokens} ${kvDtype} keys, ` +
        `${qHeads}/${kvHeads} heads of ${headDim}, window ${window}`,
      run: async (bench) => {
        const sequence = await makeSequence(bench, sizes);
        await attentionDense(bench.device, {
          out: await bench.output("out", outDtype, sequence.q.shape),
          lse: lse ? await bench.output("lse", "f32", [tokens, qHeads]) : undefined,
          ...sequence,
          qOffset,
          window,
          prefixGap,
        });
      },
    };
  });
}

twinTest("attentionDense()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: denseCases(SIZES),
  gpu: { tolerance: GPU_ATTENTION, cases: denseCases(GPU_SIZES) },
});

twinTest("attentionDense() without a log-sum-exp", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: denseCases(ROUNDED_SIZES.map((sizes) => ({ ...sizes, kvDtype: "bf16", lse: false }))),
  gpu: { tolerance: GPU_ATTENTION },
});

twinTest("attentionDense() gives a value that is not finite to those who see it", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: [...NOT_FINITE_SIZES, ...NOT_FINITE_WINDOWS].flatMap((sizes) => [
    ...denseCases([sizes]),
    // Of a GPU all keys are bf16.
    ...denseCases([{ ...sizes, kvDtype: "bf16", lse: false }])
      .map((twinCase) => ({ ...twinCase, cpuOnly: true })),
  ]),
  gpu: { tolerance: GPU_ATTENTION },
});

twinTest("attentionDense() of bf16 keys with large logits", {
  // Queries are bf16 numbers, so that rounding them moves no logit; maxima grow from chunk to chunk.
  tolerance: { f32: { absolute: 2e-4, relative: 2e-4, cosine: 1e-7 } },
  gpu: { tolerance: GPU_ATTENTION },
  cases: [64, 128].map((headDim): TwinCase => ({
    name: `head size ${headDim}`,
    bf16: true,
    run: async (bench) => {
      const sizes = { tokens: 70, keyTokens: 650, qHeads: 2, kvHeads: 1, kvDtype: "bf16" } as const;
      const sequence = await makeSequence(bench, { ...sizes, headDim: headDim === 64 ? 64 : 128 });
      const q = await bench.data("bf16 queries", {
        dtype: bench.device.queryDtype,
        shape: sequence.q.shape,
        make: (count, random) => roundToBf16(random.floats(count, 1)),
      });
      const out = await bench.output("out", "f32", q.shape);
      await attentionDense(bench.device, { ...sequence, out, q, scale: 5, qOffset: 580 });
    },
  })),
});

twinTest("attentionDense() with large logits", {
  // Logits of some hundreds: an error of 2^-24 of a logit moves a weight by 1e-5 of it.
  tolerance: { f32: { absolute: 2e-4, relative: 2e-4, cosine: 1e-7 } },
  gpu: {
    tolerance: {
      ...GPU_ATTENTION,
      byName: { lse: { absolute: 1e-3, relative: 2e-5, cosine: 1e-9 } },
    },
  },
  cases: [64, 128].map((headDim): TwinCase => ({
    name: `head size ${headDim}`,
    run: async (bench) => {
      const sizes = { tokens: 70, keyTokens: 140, qHeads: 2, kvHeads: 1 };
      const sequence = await makeSequence(bench, { ...sizes, headDim: headDim === 64 ? 64 : 128 });
      await attentionDense(bench.device, {
        out: await bench.output("out", "f32", sequence.q.shape),
        lse: await bench.output("lse", "f32", [70, 2]),
        ...sequence,
        scale: 5,
        qOffset: 70,
      });
    },
  })),
});

Deno.test("attentionDense() gives zeros and -inf without a key", async () => {
  await withCpu(async (device) => {
    const make = (dtype: DType, shape: number[]): Tensor =>
      Tensor.allocate(device, { dtype, shape, label: "t" });
    using q = make("f32", [2, 4, 64]);
    using cache = make("bf16", [2, 8, 64]);
    using out = make("f32", [2, 4, 64]);
    using lse = make("f32", [2, 4]);
    await q.writeFrom(new Float32Array(q.size).fill(1));
    await out.writeFrom(new Float32Array(out.size).fill(NaN));
    const keys = { keys: cache, values: cache, start: 8, tokens: 0 };
    await attentionDense(device, { out, lse, q, keys, qOffset: 3, scale: 1 });
    assertEquals(await out.toFloats(), new Float32Array(out.size));
    assertEquals(await lse.toFloats(), new Float32Array(lse.size).fill(-Infinity));
  });
});

refusalTest("sx_attention_dense", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 2, 64]),
    lseLog2: scene.zeros("f32", [2, 2]),
    q: scene.zeros("f32", [2, 2, 64]),
    kv: {
      keys: scene.zeros("f32", [1, 4, 64]),
      values: scene.zeros("f32", [1, 4, 64]),
      prefixKeys: scene.zeros("f32", [1, 4, 64]),
      prefixValues: scene.zeros("f32", [1, 4, 64]),
      dtype: 0,
      keyTokens: 3,
      prefixTokens: 4,
      kvHeads: 1,
      headDim: 64,
      tokenStride: 64,
      headStride: 256,
      prefixTokenStride: 64,
      prefixHeadStride: 256,
      prefixGap: 0,
    },
    outDtype: 0,
    qDtype: 0,
    qTokens: 2,
    qOffset: 5,
    qHeads: 2,
    window: 0,
    scale: 0.125,
  },
  unchecked: ["lseLog2"],
  bf16OnGpu: ["qDtype", "kv.dtype"],
  // Queries are f32 here; head sizes and groups.
  faults: [
    ["qDtype", 1],
    ["outDtype", 2],
    ["kv.dtype", 2],
    ["kv.dtype", 3],
    ["kv.headDim", 63],
    ["kv.headDim", 0],
    ["kv.kvHeads", 0],
    ["qHeads", 0],
    ["window", -1],
    ["kv.prefixGap", -1],
  ],
}));
