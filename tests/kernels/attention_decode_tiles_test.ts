/**
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { attentionDecodeTiles } from "../../lib/ops/attention_decode_tiles.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { type Company, companyTest, rowsOf } from "../helpers/company.ts";
import { assertClose } from "../helpers/compare.ts";
import {
  type CacheSizes,
  integers,
  type IsChosen,
  isInHalf,
  layOutCache,
  makeCache,
  makeLists,
} from "../helpers/decode_tiles.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends CacheSizes {
  readonly causal: boolean;
  readonly isChosen?: IsChosen;
  readonly outDtype?: "f32" | "bf16";
}

const HEADS = { qHeads: 4, kvHeads: 2, headDim: 64 } as const;
const SIZES: readonly Sizes[] = [
  // No pooled tile, no key, one tile and nothing behind it.
  { ...HEADS, tokens: 1, pooled: [0, 0, 1], tails: [5, 0, 0], causal: false },
  { ...HEADS, tokens: 1, pooled: [3, 9, 1], tails: [1, 130, 60], causal: true },
  { ...HEADS, tokens: 1, pooled: [6, 5], tails: [3, 40], causal: true, isChosen: () => false },
  { ...HEADS, tokens: 2, pooled: [7], tails: [2], causal: true, isChosen: () => true },
  // One head reads everything, the other nothing; neighbours, and none.
  {
    ...HEADS,
    tokens: 1,
    pooled: [8],
    tails: [9],
    causal: true,
    isChosen: ({ head }) => head === 1,
  },
  {
    ...{ ...HEADS, tokens: 1, pooled: [24], tails: [70], causal: true },
    isChosen: ({ tile, head }) => tile % (head + 2) === 0,
  },
  {
    tokens: 16,
    pooled: [5, 2],
    tails: [16, 33],
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
  },
  { tokens: 5, pooled: [4], tails: [300], causal: true, qHeads: 6, kvHeads: 1, headDim: 64 },
  { tokens: 3, pooled: [11, 3], tails: [0, 1], causal: false, qHeads: 2, kvHeads: 2, headDim: 128 },
  {
    ...{ tokens: 1, pooled: [40, 3, 18], tails: [100, 1, 2], causal: true },
    ...{ qHeads: 8, kvHeads: 2, headDim: 128, kvDtype: "bf16", outDtype: "bf16" },
  },
  // As many keys as several splits have.
  {
    ...{ tokens: 1, pooled: [260], tails: [77], causal: true },
    ...{ qHeads: 2, kvHeads: 1, headDim: 64, kvDtype: "bf16" },
  },
  // Keys of 8 bits beside means of bf16.
  ...(["i8", "f8e4m3"] as const).flatMap((kvDtype): Sizes[] => [
    { ...HEADS, tokens: 1, pooled: [3, 9, 1], tails: [1, 130, 60], causal: true, kvDtype },
    {
      ...{ tokens: 16, pooled: [5, 2], tails: [16, 33], causal: true },
      ...{ qHeads: 8, kvHeads: 2, headDim: 128, kvDtype },
    },
  ]),
];

/** The heads of the 8B shape. */
const GPU_SIZES: readonly Sizes[] = [
  { tokens: 1, pooled: [300], tails: [99], causal: true, qHeads: 32, kvHeads: 8, headDim: 128 },
  {
    tokens: 16,
    pooled: [33, 64],
    tails: [99, 16],
    causal: true,
    qHeads: 32,
    kvHeads: 8,
    headDim: 128,
  },
];

async function attend(
  bench: Bench,
  options: { sizes: Sizes; chosen?: readonly number[] },
): Promise<{ out: Tensor; lse: Tensor }> {
  const { sizes } = options;
  const { isChosen = isInHalf, outDtype = "f32", causal } = sizes;
  const cache = await makeCache(bench, { ...options, isChosen });
  const out = await bench.output("out", outDtype, cache.q.shape);
  const lse = await bench.output("lse", "f32", cache.q.shape.slice(0, 2));
  const lists = await makeLists(bench, { ...options, isChosen });
  await attentionDecodeTiles(bench.device, { ...cache, ...lists, out, lse, causal });
  return { out, lse };
}

function casesOf(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes, i) => ({
    bf16: sizes.kvDtype === "bf16",
    name: `${i}: ${sizes.tokens} queries of sequences of ${sizes.pooled.join(", ")} tiles and ` +
      `${sizes.tails.join(", ")} keys, ${sizes.qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}`,
    run: async (bench) => void await attend(bench, { sizes }),
  }));
}

twinTest("attentionDecodeTiles()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: casesOf(SIZES),
  gpu: { tolerance: GPU_ATTENTION, cases: casesOf(GPU_SIZES) },
});

/** Behind the pooled tiles some queries do not see the last keys; those of a chosen tile all see. */
const NOT_FINITE_SIZES: readonly Sizes[] = ([64, 128] as const).flatMap((headDim): Sizes[] => [
  {
    ...{ tokens: 5, pooled: [4, 3], tails: [300, 5], causal: true, qHeads: 6, kvHeads: 1, headDim },
    oddValues: [
      { sequence: 0, token: 4 * 128 + 297, dim: 3, value: NaN },
      { sequence: 0, token: 4 * 128 + 299, dim: 4, value: Infinity },
      { sequence: 1, token: 3 * 128 + 1, dim: 5, value: -Infinity },
      { sequence: 1, token: 3 * 128 + 4, dim: 6, value: NaN },
    ],
  },
  {
    ...{ tokens: 16, pooled: [5], tails: [33], causal: true, qHeads: 8, kvHeads: 2, headDim },
    isChosen: ({ tile }) => tile === 2,
    oddKeys: [{ sequence: 0, token: 5 * 128 + 24, dim: 3, value: NaN }],
    oddValues: [
      { sequence: 0, token: 2 * 128 + 100, dim: 7, value: Infinity },
      { sequence: 0, token: 5 * 128 + 20, dim: 8, value: NaN },
    ],
  },
  {
    ...{ tokens: 1, pooled: [2], tails: [3], causal: true, qHeads: 2, kvHeads: 1, headDim },
    oddValues: [{ sequence: 0, token: 2 * 128 + 2, dim: 3, value: NaN }],
  },
]);

twinTest("attentionDecodeTiles() gives a value that is not finite to those who see it", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  gpu: { tolerance: GPU_ATTENTION },
  cases: [
    ...casesOf(NOT_FINITE_SIZES),
    // Of a GPU all keys are bf16.
    ...casesOf(NOT_FINITE_SIZES.map((sizes) => ({ ...sizes, kvDtype: "bf16" })))
      .map((one) => ({ ...one, cpuOnly: true })),
  ],
});

const POOLED = [0, 1, 2, 3, 30, 5, 17, 4, 9];
const COMPANIES: readonly Company[] = ([
  { ...HEADS, tokens: 1, kvDtype: "bf16" },
  { tokens: 3, qHeads: 8, kvHeads: 1, headDim: 128 },
  { ...HEADS, tokens: 2, kvDtype: "i8" },
] as const).map((part) => {
  const tails = POOLED.map((tiles) => 3 + 37 * tiles);
  const sizes: Sizes = { ...part, pooled: POOLED, tails, causal: true };
  return {
    name: `${part.tokens} queries, ${part.qHeads}/${part.kvHeads} heads of ${part.headDim}`,
    count: POOLED.length,
    run: async (bench, chosen): Promise<Uint8Array[]> => {
      const { out, lse } = await attend(bench, { sizes, chosen });
      const states = rowsOf(await lse.toBytes(), chosen.length);
      return rowsOf(await out.toBytes(), chosen.length).map((row, i) =>
        new Uint8Array([...row, ...states[i] ?? []])
      );
    },
  };
});

companyTest("attentionDecodeTiles()", COMPANIES);

/** Where all tiles are chosen: of few and of many rows, over some splits. */
const WHOLE: readonly Sizes[] = [
  { ...HEADS, tokens: 1, pooled: [3, 0, 70], tails: [5, 1, 200], causal: true },
  {
    tokens: 16,
    pooled: [9, 40],
    tails: [16, 99],
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
  },
  { tokens: 2, pooled: [5], tails: [0], causal: false, qHeads: 4, kvHeads: 4, headDim: 64 },
  { ...HEADS, tokens: 1, pooled: [6], tails: [9], causal: true, kvDtype: "i8" },
  { ...HEADS, tokens: 3, pooled: [6], tails: [9], causal: true, kvDtype: "f8e4m3" },
];

async function compareWhole(device: Device): Promise<void> {
  for (const [i, sizes] of WHOLE.entries()) {
    const isForGpu = device.queryDtype === "bf16";
    using bench = new Bench(device, { inputs: new Map(), random: new Random(40 + i), isForGpu });
    const isChosen = () => true;
    const { out, lse } = await attend(bench, { sizes: { ...sizes, isChosen } });
    const cache = await makeCache(bench, { sizes, isChosen });
    const expected = await bench.output("expected", "f32", out.shape);
    const states = await bench.output("expected states", "f32", lse.shape);
    await attentionDecode(device, { ...cache, out: expected, lse: states, causal: sizes.causal });
    assertEquals(await out.toBytes(), await expected.toBytes(), device.description);
    assertEquals(await lse.toBytes(), await states.toBytes(), device.description);
  }
}

Deno.test("attentionDecodeTiles() over all tiles has the bits of attentionDecode()", async () => {
  for (const instructionSet of await machineSets()) {
    await withCpu(compareWhole, { instructionSet });
  }
});

Deno.test({
  name: "attentionDecodeTiles() on a GPU over all tiles has the bits of attentionDecode()",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds(compareWhole),
});

Deno.test("attentionDecodeTiles() is one softmax over keys and means, by a plain loop", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(50) });
    const sizes: Sizes = { ...HEADS, tokens: 1, pooled: [6], tails: [20], causal: true };
    const { out, lse } = await attend(bench, { sizes });
    const { q, keys, means, scale } = await makeCache(bench, { sizes, isChosen: isInHalf });
    const { first: [row = 0], rows } = layOutCache(sizes);
    const { headDim, qHeads, kvHeads } = sizes;
    const [queries, k, v] = [
      await q.toFloats(),
      await keys.keys.toFloats(),
      await keys.values.toFloats(),
    ];
    const [meanK, meanV] = [await means.keys.toFloats(), await means.values.toFloats()];
    const expected = new Float32Array(qHeads * headDim);
    const states = new Float32Array(qHeads);
    for (let h = 0; h < qHeads; h++) {
      const head = Math.floor(h / (qHeads / kvHeads));
      const terms: { logit: number; value: Float32Array }[] = [];
      const see = (of: readonly [Float32Array, Float32Array], at: number, weight: number) => {
        const [key, value] = [of[0].subarray(at, at + headDim), of[1].subarray(at, at + headDim)];
        const dot = key.reduce((sum, x, d) => sum + x * (queries[h * headDim + d] ?? NaN), 0);
        terms.push({ logit: scale * dot + Math.log(weight), value });
      };
      for (let tile = 0; tile < 6; tile++) {
        if (!isInHalf({ sequence: 0, head, tile })) {
          see([meanK, meanV], (head * rows / 128 + row / 128 + tile) * headDim, 128);
          continue;
        }
        for (let j = 128 * tile; j < 128 * tile + 128; j++) {
          see([k, v], (head * rows + row + j) * headDim, 1);
        }
      }
      for (let j = 768; j < 788; j++) see([k, v], (head * rows + row + j) * headDim, 1);
      const top = Math.max(...terms.map(({ logit }) => logit));
      const total = terms.reduce((sum, { logit }) => sum + Math.exp(logit - top), 0);
      states[h] = (top + Math.log(total)) / Math.LN2;
      for (let d = 0; d < headDim; d++) {
        expected[h * headDim + d] = terms.reduce(
          (sum, { logit, value }) => sum + Math.exp(logit - top) / total * (value[d] ?? NaN),
          0,
        );
      }
    }
    const subject = (name: string, shape: readonly number[]) => ({ name, shape });
    const tolerance = F32_SUMS;
    assertClose(await out.toFloats(), { expected, tolerance, subject: subject("out", out.shape) });
    assertClose(await lse.toFloats(), {
      expected: states,
      tolerance,
      subject: subject("lse", lse.shape),
    });
  });
});

Deno.test("attentionDecodeTiles() refuses lists that do not have every tile once", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(8) });
    const sizes: Sizes = { ...HEADS, kvHeads: 1, tokens: 1, pooled: [3], tails: [1], causal: true };
    const cache = await makeCache(bench, { sizes });
    const out = await bench.output("out", "f32", cache.q.shape);
    const before = await out.toBytes();
    const wrong = [[2, 0, 1, 1], [2, 1, 0, 2], [4, 0, 1, 2], [-1, 0, 1, 2], [1, 0, 2, 1], [
      0,
      0,
      1,
      3,
    ]];
    for (const [count = 0, ...list] of wrong) {
      const counts = (await integers(bench, "counts", [count])).reshape([1, 1]);
      const indices = (await integers(bench, "indices", list)).reshape([1, 1, 3]);
      await assertRejects(
        () => attentionDecodeTiles(device, { ...cache, counts, indices, out, causal: true }),
        KernelError,
        "Cannot attend to tiles of the cache as",
      );
    }
    // The queries do not see the last tile's end.
    const counts = (await integers(bench, "counts", [3])).reshape([1, 1]);
    const indices = (await integers(bench, "indices", [0, 1, 2])).reshape([1, 1, 3]);
    const keyCount = await integers(bench, "short", [383]);
    const error = await assertRejects(
      () =>
        attentionDecodeTiles(device, { ...cache, counts, indices, keyCount, out, causal: true }),
      KernelError,
      "the keys of pooled_tiles must be seen by all queries: current value is 3",
    );
    assertEquals(error.status, "SX_INVALID_ARGUMENT");
    assert(before.every((byte, i) => byte === (before[i] ?? -1)));
    assertEquals(await out.toBytes(), before);
  });
});

refusalTest("sx_attention_decode_tiles", (scene) => ({
  params: {
    attention: {
      out: scene.zeros("f32", [1, 2, 64]),
      lseLog2: scene.zeros("f32", [1, 2]),
      q: scene.zeros("f32", [1, 2, 64]),
      keys: scene.zeros("f32", [1, 256, 64]),
      values: scene.zeros("f32", [1, 256, 64]),
      firstRow: scene.ints([0]),
      keyCount: scene.ints([200]),
      outDtype: 0,
      qDtype: 0,
      kvDtype: 0,
      keyScales: 0n,
      valueScales: 0n,
      causal: 1,
      window: 0,
      sequences: 1,
      qTokens: 1,
      sequenceCapacity: 256,
      keyCapacity: 256,
      qHeads: 2,
      kvHeads: 1,
      headDim: 64,
      tokenStride: 64,
      headStride: 16_384,
      scaleHeadStride: 0,
      scale: 0.125,
    },
    meanKeys: scene.zeros("f32", [1, 2, 64]),
    meanValues: scene.zeros("f32", [1, 2, 64]),
    meanDtype: 0,
    pooledTiles: scene.ints([1]),
    counts: scene.ints([0]),
    indices: scene.ints([0]),
    indexStride: 1,
    meanCapacity: 2,
    meanHeadStride: 128,
  },
  unchecked: [
    ...["attention.lseLog2", "attention.firstRow"],
    ...["attention.keyScales", "attention.valueScales"],
  ],
  bf16OnGpu: ["attention.qDtype", "attention.kvDtype", "meanDtype"],
  faults: [
    ["attention.qTokens", 17],
    ["attention.window", 128],
    // Of floats the means are, too.
    ["meanDtype", 2],
    ["attention.kvDtype", 4],
    ["attention.headDim", 63],
    ["indexStride", 2 ** 21],
  ],
}));
