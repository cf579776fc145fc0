/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import type { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSequence, type OddValue } from "../helpers/attention.ts";
import { type Company, companyTest, pickRows, rowsOf } from "../helpers/company.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly tokens: number;
  /** Keys in the cache; rows beyond them are NaN. */
  readonly count: number;
  readonly capacity: number;
  readonly causal: boolean;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly kvDtype?: DType;
  readonly outDtype?: DType;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, count: 1, capacity: 1, causal: true, qHeads: 1, kvHeads: 1, headDim: 64 },
  { tokens: 1, count: 0, capacity: 9, causal: true, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 2, count: 0, capacity: 0, causal: false, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 0, count: 4, capacity: 9, causal: true, qHeads: 4, kvHeads: 1, headDim: 64 },
  // The first queries of a causal call see no key at all.
  { tokens: 5, count: 3, capacity: 9, causal: true, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 3, count: 127, capacity: 128, causal: true, qHeads: 8, kvHeads: 2, headDim: 128 },
  { tokens: 16, count: 129, capacity: 200, causal: true, qHeads: 4, kvHeads: 4, headDim: 64 },
  { tokens: 16, count: 128, capacity: 128, causal: false, qHeads: 8, kvHeads: 1, headDim: 64 },
  {
    ...{ tokens: 1, count: 5_001, capacity: 6_000, causal: true, qHeads: 8, kvHeads: 2 },
    ...{ headDim: 64, kvDtype: "bf16" },
  },
  {
    ...{ tokens: 7, count: 1_500, capacity: 1_500, causal: true, qHeads: 8, kvHeads: 1 },
    ...{ headDim: 128, kvDtype: "bf16", outDtype: "bf16" },
  },
  {
    ...{ tokens: 2, count: 66_000, capacity: 66_001, causal: false, qHeads: 1, kvHeads: 1 },
    ...{ headDim: 64, kvDtype: "bf16" },
  },
];

/** Keys of 8 bits: one row, none, windows' and splits' edges, more rows than are read at once. */
const SCALED_SIZES: readonly Sizes[] = (["i8", "f8e4m3"] as const).flatMap((kvDtype) => [
  { tokens: 1, count: 1, capacity: 1, causal: true, qHeads: 1, kvHeads: 1, headDim: 64, kvDtype },
  { tokens: 1, count: 0, capacity: 9, causal: true, qHeads: 4, kvHeads: 1, headDim: 64, kvDtype },
  {
    ...{ tokens: 3, count: 127, capacity: 128, causal: true, qHeads: 8, kvHeads: 2, headDim: 128 },
    kvDtype,
  },
  {
    ...{ tokens: 16, count: 700, capacity: 800, causal: true, qHeads: 8, kvHeads: 2, headDim: 64 },
    ...{ kvDtype, outDtype: "bf16" },
  },
  {
    ...{ tokens: 1, count: 5_001, capacity: 6_000, causal: true, qHeads: 8, kvHeads: 2 },
    ...{ headDim: 128, kvDtype },
  },
]);

/** The heads of real models, and groups that fill more than one tile of rows. */
const GPU_SIZES: readonly Sizes[] = [
  { tokens: 1, count: 4_097, capacity: 8_192, causal: true, qHeads: 32, kvHeads: 8, headDim: 128 },
  { tokens: 3, count: 1_000, capacity: 1_001, causal: true, qHeads: 12, kvHeads: 1, headDim: 64 },
  {
    tokens: 16,
    count: 777,
    capacity: 4_096,
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
    outDtype: "bf16",
  },
  { tokens: 16, count: 20, capacity: 9_000, causal: false, qHeads: 24, kvHeads: 8, headDim: 128 },
  ...(["i8", "f8e4m3"] as const).map((kvDtype): Sizes => ({
    ...{ tokens: 1, count: 4_097, capacity: 8_192, causal: true, qHeads: 32, kvHeads: 8 },
    ...{ headDim: 128, kvDtype },
  })),
];

function decodeCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { tokens, count, capacity, causal, qHeads, kvHeads, headDim } = sizes;
    const { kvDtype = "f32", outDtype = "f32" } = sizes;
    return {
      bf16: kvDtype === "bf16",
      name: `${tokens} queries, ${count} of ${capacity} ${kvDtype} keys, ` +
        `${qHeads}/${kvHeads} heads of ${headDim}, ${causal ? "causal" : "all"}`,
      run: async (bench) => {
        const unread = (token: number): boolean => token >= count;
        const { q, keys, scale } = await makeSequence(bench, {
          ...{ tokens, keyTokens: capacity, qHeads, kvHeads, headDim, kvDtype },
          unread,
        });
        await attentionDecode(bench.device, {
          out: await bench.output("out", outDtype, q.shape),
          lse: await bench.output("lse", "f32", [tokens, qHeads]),
          q,
          keys,
          keyCount: await bench.data("keyCount", {
            dtype: "i32",
            shape: [1],
            make: () => Int32Array.of(count),
          }),
          causal,
          scale,
        });
      },
    };
  });
}

/** Some sequences of one cache, which begin at pages of 128 rows. */
interface BatchSizes extends Omit<Sizes, "count" | "capacity"> {
  readonly counts: readonly number[];
  readonly window?: number;
  /** Their tokens are rows of the cache, of which the first 128 are nobody's. */
  readonly oddValues?: readonly OddValue[];
  readonly oddKeys?: readonly OddValue[];
}

const BATCHES: readonly BatchSizes[] = [
  { tokens: 1, counts: [], causal: true, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 1, counts: [300, 0, 1, 128], causal: true, qHeads: 4, kvHeads: 2, headDim: 64 },
  { tokens: 3, counts: [2, 700, 129], causal: true, qHeads: 4, kvHeads: 1, headDim: 128 },
  { tokens: 16, counts: [40, 257], causal: true, qHeads: 4, kvHeads: 2, headDim: 64 },
  { tokens: 2, counts: [513, 90], causal: false, qHeads: 2, kvHeads: 1, headDim: 64 },
  {
    tokens: 1,
    counts: [2_000, 31, 600],
    causal: true,
    qHeads: 8,
    kvHeads: 2,
    headDim: 128,
    kvDtype: "bf16",
    outDtype: "bf16",
  },
  { tokens: 1, counts: [900, 3], causal: true, qHeads: 4, kvHeads: 2, headDim: 64, window: 300 },
  { tokens: 5, counts: [600, 2], causal: true, qHeads: 6, kvHeads: 1, headDim: 64, window: 7 },
  { tokens: 2, counts: [600], causal: false, qHeads: 2, kvHeads: 2, headDim: 128, window: 99 },
  ...(["i8", "f8e4m3"] as const).flatMap((kvDtype): BatchSizes[] => [
    {
      ...{ tokens: 1, counts: [300, 0, 1, 128], causal: true, qHeads: 4, kvHeads: 2, headDim: 64 },
      kvDtype,
    },
    {
      ...{ tokens: 5, counts: [600, 2], causal: true, qHeads: 6, kvHeads: 1, headDim: 128 },
      ...{ window: 7, kvDtype },
    },
  ]),
];

/**
 * Keys and values that are not finite, which only queries may get that see them: in front of windows and
 * behind queries, of few rows and of more than are read at once.
 */
const NOT_FINITE_BATCHES: readonly BatchSizes[] = (["f32", "bf16"] as const).flatMap((kvDtype) => [
  // Windows of the first sequence begin at keys 290..296, of the second one at 0 and 1.
  {
    ...{ tokens: 7, counts: [310, 20], causal: true, qHeads: 6, kvHeads: 2, headDim: 64, kvDtype },
    window: 14,
    oddValues: [
      { token: 128 + 290, dim: 3, value: NaN },
      { token: 128 + 291, dim: 4, value: Infinity },
      { token: 128 + 295, dim: 5, value: -Infinity },
      { token: 128 + 309, dim: 6, value: NaN },
      { token: 512 + 1, dim: 7, value: NaN },
      { token: 512 + 5, dim: 8, value: Infinity },
      { token: 512 + 17, dim: 9, value: Infinity },
    ],
  },
  {
    ...{ tokens: 3, counts: [900], causal: true, qHeads: 1, kvHeads: 1, headDim: 128, kvDtype },
    window: 640,
    oddValues: [{ token: 128 + 259, dim: 100, value: NaN }],
  },
  {
    ...{ tokens: 5, counts: [300], causal: true, qHeads: 4, kvHeads: 1, headDim: 128, kvDtype },
    oddValues: [{ token: 128 + 297, dim: 3, value: NaN }, {
      ...{ token: 128 + 299, dim: 4, value: Infinity },
    }],
  },
  // 64 rows of a key head, over some splits.
  {
    ...{ tokens: 16, counts: [777], causal: true, qHeads: 8, kvHeads: 2, headDim: 128, kvDtype },
    oddValues: [{ token: 128 + 761, dim: 5, value: NaN }, {
      ...{ token: 128 + 768, dim: 6, value: Infinity },
    }, { token: 128 + 776, dim: 7, value: NaN }],
  },
  // What all queries see: of one query each, and of two.
  {
    ...{ tokens: 1, counts: [20, 300], causal: true, qHeads: 4, kvHeads: 1, headDim: 64, kvDtype },
    oddValues: [{ token: 128 + 19, dim: 5, value: NaN }, {
      ...{ token: 256 + 7, dim: 6, value: -Infinity },
    }],
  },
  {
    ...{ tokens: 2, counts: [300], causal: false, qHeads: 2, kvHeads: 1, headDim: 64, kvDtype },
    oddValues: [{ token: 128 + 299, dim: 5, value: Infinity }],
  },
  {
    ...{ tokens: 7, counts: [310, 20], causal: true, qHeads: 6, kvHeads: 2, headDim: 64, kvDtype },
    window: 14,
    oddKeys: [
      { token: 128 + 292, dim: 3, value: NaN },
      { token: 128 + 308, dim: 4, value: Infinity },
      { token: 512 + 1, dim: 5, value: -Infinity },
      { token: 512 + 18, dim: 6, value: NaN },
    ],
  },
  {
    ...{ tokens: 5, counts: [300], causal: true, qHeads: 4, kvHeads: 1, headDim: 128, kvDtype },
    oddKeys: [{ token: 128 + 298, dim: 3, value: NaN }],
  },
]);

/** The first row of each sequence, and the rows of a cache that has them all. */
function layOut(counts: readonly number[]): { first: number[]; rows: number } {
  let rows = 128;
  const first = counts.map((count) => {
    const begin = rows;
    rows += Math.ceil((count + 1) / 128) * 128;
    return begin;
  });
  return { first, rows };
}

/** Decode attention of all sequences of a batch, or of chosen ones. */
async function attendToBatch(
  bench: Bench,
  options: { sizes: BatchSizes; chosen?: readonly number[] },
): Promise<{ out: Tensor; lse: Tensor }> {
  const { sizes } = options;
  const { counts, tokens, qHeads, headDim, causal, window = 0, outDtype = "f32" } = sizes;
  const { chosen = counts.map((_, i) => i) } = options;
  const { first, rows } = layOut(counts);
  const unread = (row: number): boolean =>
    !counts.some((count, i) => row >= (first[i] ?? 0) && row < (first[i] ?? 0) + count);
  const all = { ...sizes, tokens: tokens * counts.length, keyTokens: rows, unread };
  const { q: every, keys, scale } = await makeSequence(bench, all);
  const q = await bench.queries(`q${chosen.length}`, [tokens * chosen.length, qHeads, headDim]);
  const width = tokens * qHeads * headDim;
  await q.writeFrom(pickRows(await every.toFloats(), { chosen, width }));
  const ints = async (label: string, values: readonly number[]): Promise<Tensor> => {
    const tensor = await bench.ints(`${label}${chosen.length}`, [chosen.length], {
      low: 0,
      high: 1,
    });
    await tensor.writeFrom(Int32Array.from(chosen, (i) => values[i] ?? -1));
    return tensor;
  };
  const out = await bench.output("out", outDtype, q.shape);
  const lse = await bench.output("lse", "f32", [tokens * chosen.length, qHeads]);
  await attentionDecode(bench.device, {
    ...{ out, lse, q, keys, causal, window, scale },
    keyCount: await ints("keyCount", counts),
    firstRow: await ints("firstRow", first),
    sequenceCapacity: Math.max(0, ...counts),
  });
  return { out, lse };
}

function batchCases(all: readonly BatchSizes[]): TwinCase[] {
  return all.map((sizes) => ({
    bf16: sizes.kvDtype === "bf16",
    name: `${sizes.tokens} queries of sequences of ${sizes.counts.join(", ")} ` +
      `${sizes.kvDtype ?? "f32"} keys, ${sizes.qHeads}/${sizes.kvHeads} heads of ` +
      `${sizes.headDim}, window ${sizes.window ?? 0}`,
    run: async (bench) => void await attendToBatch(bench, { sizes }),
  }));
}

twinTest("attentionDecode()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: [...decodeCases([...SIZES, ...SCALED_SIZES]), ...batchCases(BATCHES)],
  gpu: { tolerance: GPU_ATTENTION, cases: decodeCases(GPU_SIZES) },
});

twinTest("attentionDecode() gives a value that is not finite to those who see it", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  gpu: { tolerance: GPU_ATTENTION },
  // Of a GPU all keys are bf16.
  cases: batchCases(NOT_FINITE_BATCHES).map((one) => ({ ...one, cpuOnly: one.bf16 === true })),
});

/** Lengths at the edges of pages and splits, and one that dwarfs the others. */
const LENGTHS = [0, 1, 127, 128, 129, 256, 257, 300, 3_000, 511, 64, 65, 2, 900, 5, 700, 1_025];

const COMPANIES: readonly Company[] = ([
  { tokens: 1, qHeads: 8, kvHeads: 2, headDim: 64, kvDtype: "bf16" },
  { tokens: 1, qHeads: 4, kvHeads: 1, headDim: 128 },
  { tokens: 3, qHeads: 8, kvHeads: 1, headDim: 64, kvDtype: "bf16" },
  { tokens: 2, qHeads: 4, kvHeads: 2, headDim: 64, window: 200 },
  { tokens: 1, qHeads: 8, kvHeads: 2, headDim: 128, kvDtype: "i8" },
  { tokens: 3, qHeads: 8, kvHeads: 1, headDim: 64, kvDtype: "f8e4m3" },
] as const).map((part) => {
  const sizes: BatchSizes = { ...part, counts: LENGTHS, causal: true };
  return {
    name: `${part.tokens} queries of ${LENGTHS.length} sequences, ` +
      `${part.qHeads}/${part.kvHeads} heads of ${part.headDim}`,
    count: LENGTHS.length,
    run: async (bench, chosen): Promise<Uint8Array[]> => {
      const { out, lse } = await attendToBatch(bench, { sizes, chosen });
      const states = rowsOf(await lse.toBytes(), chosen.length);
      return rowsOf(await out.toBytes(), chosen.length).map((row, i) =>
        new Uint8Array([...row, ...states[i] ?? []])
      );
    },
  };
});

companyTest("attentionDecode()", COMPANIES);

Deno.test("attentionDecode() throws if the number of keys is out of range", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(8) });
    const sizes = { tokens: 1, keyTokens: 10, qHeads: 1, kvHeads: 1, headDim: 64 } as const;
    const { q, keys, scale } = await makeSequence(bench, sizes);
    const out = await bench.output("out", "f32", q.shape);
    const before = await out.toBytes();
    const keyCount = await bench.ints("keyCount", [1], { low: 0, high: 1 });
    const firstRow = await bench.ints("firstRow", [1], { low: 0, high: 1 });
    for (const [count, first] of [[11, 0], [-1, 0], [2 ** 31 - 1, 0], [3, 8], [1, -1]] as const) {
      await keyCount.writeFrom(Int32Array.of(count));
      await firstRow.writeFrom(Int32Array.of(first));
      const error = await assertRejects(
        () => attentionDecode(device, { out, q, keys, keyCount, firstRow, causal: true, scale }),
        KernelError,
        "Cannot run sx_attention_decode with out [1, 1, 64] f32",
      );
      assertEquals(error.status, "SX_INVALID_ARGUMENT");
    }
    assertEquals(await out.toBytes(), before);
  });
});

refusalTest("sx_attention_decode", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 2, 64]),
    lseLog2: scene.zeros("f32", [2, 2]),
    q: scene.zeros("f32", [2, 2, 64]),
    keys: scene.zeros("f32", [1, 4, 64]),
    values: scene.zeros("f32", [1, 4, 64]),
    firstRow: scene.ints([1]),
    keyCount: scene.ints([3]),
    outDtype: 0,
    qDtype: 0,
    kvDtype: 0,
    keyScales: 0n,
    valueScales: 0n,
    causal: 1,
    window: 0,
    sequences: 1,
    qTokens: 2,
    sequenceCapacity: 4,
    keyCapacity: 4,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    scaleHeadStride: 0,
    scale: 0.125,
  },
  unchecked: ["lseLog2", "firstRow", "keyScales", "valueScales"],
  bf16OnGpu: ["qDtype", "kvDtype"],
  faults: [
    ["qTokens", 17],
    ["qDtype", 1],
    // Without scales.
    ["kvDtype", 4],
    ["kvDtype", 5],
    ["headDim", 63],
    ["kvHeads", 0],
    ["sequenceCapacity", 5],
    ["window", -1],
  ],
}));
