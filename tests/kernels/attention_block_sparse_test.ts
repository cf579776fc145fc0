/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { elementsToFloats } from "../../lib/device/elements.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import { attentionBlockSparse } from "../../lib/ops/attention_block_sparse.ts";
import { attentionDense } from "../../lib/ops/attention_dense.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { assertClose } from "../helpers/compare.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { scattered, type TakesTile, tileList } from "../helpers/tile_lists.ts";
import { BF16_INPUTS, BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, BF16_PRODUCTS, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly qOffset: number;
  readonly outDtype?: DType;
  readonly window?: number;
  readonly prefixGap?: number;
  readonly takes: TakesTile;
}

/** Tile 0 and the diagonal. */
const slim: TakesTile = (_, row, column) => column === 0 || column === row;

const SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, keyTokens: 1, qHeads: 1, kvHeads: 1, headDim: 64, takes: () => true },
  { tokens: 127, qOffset: 0, keyTokens: 127, qHeads: 4, kvHeads: 1, headDim: 64, takes: slim },
  {
    tokens: 129,
    qOffset: 0,
    keyTokens: 129,
    qHeads: 2,
    kvHeads: 2,
    headDim: 128,
    takes: scattered(50),
  },
  {
    tokens: 512,
    qOffset: 0,
    keyTokens: 512,
    qHeads: 4,
    kvHeads: 1,
    headDim: 64,
    kvDtype: "bf16",
    takes: slim,
  },
  {
    tokens: 257,
    qOffset: 256,
    prefixTokens: 256,
    keyTokens: 257,
    qHeads: 8,
    kvHeads: 2,
    headDim: 64,
    kvDtype: "bf16",
    outDtype: "bf16",
    takes: scattered(60),
  },
  {
    tokens: 200,
    qOffset: 384,
    prefixTokens: 128,
    keyTokens: 456,
    qHeads: 2,
    kvHeads: 1,
    headDim: 128,
    takes: scattered(40),
  },
  {
    tokens: 300,
    qOffset: 0,
    keyTokens: 300,
    qHeads: 8,
    kvHeads: 1,
    headDim: 64,
    takes: () => false,
  },
  // Windows: rows that see part of a tile, none of one that is listed, part of a prefix.
  {
    tokens: 400,
    qOffset: 0,
    keyTokens: 400,
    qHeads: 4,
    kvHeads: 2,
    headDim: 64,
    window: 150,
    takes: scattered(70),
  },
  {
    tokens: 300,
    qOffset: 256,
    prefixTokens: 256,
    prefixGap: 128,
    keyTokens: 300,
    qHeads: 2,
    kvHeads: 1,
    headDim: 128,
    kvDtype: "bf16",
    window: 300,
    takes: scattered(80),
  },
];

/** More rows of tiles and longer lists, with and without a prefix. */
const GPU_SIZES: readonly Sizes[] = [
  {
    tokens: 900,
    qOffset: 0,
    keyTokens: 900,
    qHeads: 4,
    kvHeads: 1,
    headDim: 128,
    takes: scattered(50),
  },
  {
    tokens: 640,
    qOffset: 512,
    prefixTokens: 512,
    keyTokens: 640,
    qHeads: 4,
    kvHeads: 2,
    headDim: 128,
    outDtype: "bf16",
    takes: scattered(35),
  },
];

/** Runs the op; keys and values of tiles that no query head of a key head takes are NaN. */
async function runSparse(bench: Bench, sizes: Sizes): Promise<Tensor> {
  const { tokens, qOffset, qHeads, kvHeads, outDtype = "f32", takes } = sizes;
  const { window, prefixGap } = sizes;
  const { counts, indices, queryTiles, indexStride } = tileList(sizes);
  const group = qHeads / kvHeads;
  const unread = (token: number, kvHead: number): boolean => {
    const column = Math.floor(token / TILE_TOKENS);
    for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
      for (let tile = 0; tile < queryTiles; tile++) {
        const row = qOffset / TILE_TOKENS + tile;
        if (column <= row && takes(head, row, column)) return false;
      }
    }
    return true;
  };
  const sequence = await makeSequence(bench, { ...sizes, unread });
  const out = await bench.output("out", outDtype, sequence.q.shape);
  await attentionBlockSparse(bench.device, {
    out,
    lse: await bench.output("lse", "f32", [tokens, qHeads]),
    ...sequence,
    qOffset,
    window,
    prefixGap,
    counts: await bench.data("counts", {
      dtype: "i32",
      shape: [qHeads, queryTiles],
      make: () => counts,
    }),
    indices: await bench.data("indices", {
      dtype: "i32",
      shape: [qHeads, queryTiles, indexStride],
      make: () => indices,
    }),
  });
  return out;
}

/** Values that are not finite on both sides of a diagonal, in a chosen tile, and in others. */
const NOT_FINITE_SIZES: readonly Sizes[] = ([64, 128] as const).flatMap((headDim) => [
  {
    ...{ tokens: 400, qOffset: 0, keyTokens: 400, qHeads: 4, kvHeads: 2, headDim, takes: slim },
    oddValues: [
      { token: 10, dim: 3, value: Infinity },
      { token: 200, dim: 8, value: NaN },
      { token: 383, dim: 9, value: -Infinity },
      { token: 399, dim: 10, value: NaN },
    ],
  },
  {
    ...{ tokens: 257, qOffset: 256, prefixTokens: 256, keyTokens: 257, qHeads: 4, kvHeads: 1 },
    ...{ headDim, takes: scattered(60) },
    oddValues: [{ token: 255, dim: 7, value: NaN }, { token: 300, dim: 8, value: Infinity }],
  },
  // In front of windows: at an even and an odd token, and at both ends of a tile.
  {
    ...{ tokens: 400, qOffset: 0, keyTokens: 400, qHeads: 2, kvHeads: 1, headDim, window: 130 },
    takes: () => true,
    oddValues: [
      { token: 0, dim: 3, value: NaN },
      { token: 31, dim: 4, value: Infinity },
      { token: 127, dim: 5, value: NaN },
      { token: 128, dim: 6, value: -Infinity },
      { token: 270, dim: 7, value: NaN },
    ],
  },
  {
    ...{ tokens: 257, qOffset: 256, prefixTokens: 256, prefixGap: 128, keyTokens: 257, qHeads: 4 },
    ...{ kvHeads: 2, headDim, window: 300, takes: scattered(80) },
    oddValues: [{ token: 203, dim: 7, value: NaN }, { token: 255, dim: 8, value: Infinity }],
  },
  {
    ...{ tokens: 400, qOffset: 0, keyTokens: 400, qHeads: 2, kvHeads: 1, headDim, window: 130 },
    ...{ takes: () => true, oddKeys: [{ token: 200, dim: 7, value: NaN }] },
  },
]);

const nameOf = (sizes: Sizes): string =>
  `${sizes.tokens} queries from ${sizes.qOffset}, ${sizes.prefixTokens ?? 0} + ` +
  `${sizes.keyTokens} ${
    sizes.kvDtype ?? "f32"
  } keys, ${sizes.qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}, window ${sizes.window ?? 0}`;

function sparseCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => ({
    name: nameOf(sizes),
    bf16: sizes.kvDtype === "bf16",
    run: async (bench): Promise<void> => {
      const out = await runSparse(bench, sizes);
      if (sizes.oddValues !== undefined || sizes.oddKeys !== undefined) return;
      const dtype = sizes.outDtype === "bf16" ? "bf16" : "f32";
      const finite = elementsToFloats(await out.toBytes(), dtype).every(Number.isFinite);
      assert(finite, "tiles that are not selected must not reach the output");
    },
  }));
}

twinTest("attentionBlockSparse()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  gpu: { tolerance: GPU_ATTENTION, cases: sparseCases(GPU_SIZES) },
  cases: sparseCases(SIZES),
});

twinTest("attentionBlockSparse() gives a value that is not finite to those who see it", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  gpu: { tolerance: GPU_ATTENTION },
  cases: NOT_FINITE_SIZES.flatMap((sizes) => [
    ...sparseCases([sizes]),
    // Of a GPU all keys are bf16.
    ...sparseCases([{ ...sizes, kvDtype: "bf16" }])
      .map((twinCase) => ({ ...twinCase, cpuOnly: true })),
  ]),
});

Deno.test("attentionBlockSparse() reads no block that only another head takes", async () => {
  // One key head, so that its tiles are needed, but never by query head 0: it takes tile 0 only,
  // and all of its results must stay those of a run without the other tiles.
  const base = { tokens: 384, qOffset: 0, keyTokens: 384, qHeads: 2, kvHeads: 1 } as const;
  const run = (keep: (column: number) => boolean): Promise<Float32Array> =>
    withCpu(async (device) => {
      using bench = new Bench(device, { inputs: new Map(), random: new Random(5) });
      const sizes: Sizes = {
        ...base,
        headDim: 64,
        takes: (head, _, column) => head === 0 ? column === 0 : keep(column),
      };
      const out = await (await runSparse(bench, sizes)).toFloats();
      return out.filter((_, i) => Math.floor(i / 64) % 2 === 0);
    });
  assertEquals(await run(() => true), await run((column) => column === 0));
});

Deno.test("attentionBlockSparse() over all causal tiles equals attentionDense()", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(6) });
    const sizes: Sizes = {
      tokens: 300,
      qOffset: 128,
      prefixTokens: 128,
      keyTokens: 300,
      qHeads: 4,
      kvHeads: 2,
      headDim: 64,
      kvDtype: "bf16",
      takes: () => true,
    };
    const actual = await runSparse(bench, sizes);
    const sequence = await makeSequence(bench, sizes);
    const dense = await bench.output("dense", "f32", sequence.q.shape);
    await attentionDense(device, { out: dense, ...sequence, qOffset: 128 });
    assertClose(await actual.toFloats(), {
      expected: await dense.toFloats(),
      // Block-sparse and dense attention cut the keys differently, so that weights are rounded differently.
      tolerance: BF16_PRODUCTS.includes(device.instructionSet) ? BF16_INPUTS : F32_SUMS,
      subject: { name: "out", shape: actual.shape },
    });
  });
});

Deno.test("attentionBlockSparse() throws if the block list is out of range", async (t) => {
  const sizes: Sizes = {
    tokens: 256,
    qOffset: 0,
    keyTokens: 256,
    qHeads: 1,
    kvHeads: 1,
    headDim: 64,
    takes: () => true,
  };
  const faults: [string, number[], number[]][] = [
    ["a count above the row's room", [1, 5], [0, 9, 9, 9, 0, 1, 9, 9]],
    ["a negative count", [-1, 1], [0, 9, 9, 9, 0, 9, 9, 9]],
    ["a tile beyond the keys", [1, 2], [0, 9, 9, 9, 0, 2, 9, 9]],
    ["a negative tile", [1, 2], [0, 9, 9, 9, -1, 1, 9, 9]],
    ["the smallest number", [1, 1], [0, 9, 9, 9, -(2 ** 31), 9, 9, 9]],
  ];
  for (const [name, counts, indices] of faults) {
    await t.step(name, () =>
      withCpu(async (device) => {
        using bench = new Bench(device, { inputs: new Map(), random: new Random(7) });
        const { q, keys, scale } = await makeSequence(bench, sizes);
        const out = await bench.output("out", "f32", q.shape);
        const before = await out.toBytes();
        const make = (shape: number[], values: number[]): Promise<Tensor> =>
          bench.data(`list ${shape}`, { dtype: "i32", shape, make: () => Int32Array.from(values) });
        const list = {
          counts: await make([1, 2], counts),
          indices: await make([1, 2, 4], indices),
        };
        const error = await assertRejects(
          () => attentionBlockSparse(device, { out, q, keys, qOffset: 0, scale, ...list }),
          KernelError,
          "Cannot run sx_attention_block_sparse with out [256, 1, 64] f32",
        );
        assertEquals(error.status, "SX_INVALID_ARGUMENT");
        assertEquals(await out.toBytes(), before);
      }));
  }
});

refusalTest("sx_attention_block_sparse", (scene) => ({
  params: {
    attention: {
      out: scene.zeros("f32", [2, 2, 64]),
      lseLog2: scene.zeros("f32", [2, 2]),
      q: scene.zeros("f32", [2, 2, 64]),
      kv: {
        keys: scene.zeros("f32", [1, 2, 64]),
        values: scene.zeros("f32", [1, 2, 64]),
        prefixKeys: scene.zeros("f32", [1, 128, 64]),
        prefixValues: scene.zeros("f32", [1, 128, 64]),
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
      outDtype: 0,
      qDtype: 0,
      qTokens: 2,
      qOffset: 128,
      qHeads: 2,
      window: 0,
      scale: 0.125,
    },
    counts: scene.ints([2, 1]),
    indices: scene.ints([0, 1, 1, 0]),
    indexStride: 2,
  },
  unchecked: ["attention.lseLog2"],
  bf16OnGpu: ["attention.qDtype", "attention.kv.dtype"],
  faults: [
    ["attention.qOffset", 127],
    ["attention.kv.prefixTokens", 127],
    ["attention.qDtype", 1],
    ["attention.kv.headDim", 63],
  ],
}));
