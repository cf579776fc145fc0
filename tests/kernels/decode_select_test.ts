/**
 * @module
 */
import type { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { type DecodeKeep, decodeSelect } from "../../lib/ops/decode_select.ts";
import type { CodedMeans } from "../../lib/ops/key_codes.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { type Company, companyTest, rowsOf } from "../helpers/company.ts";
import { type CacheSizes, integers, layOutCache, makeCache } from "../helpers/decode_tiles.ts";
import { HAS_GPU, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends CacheSizes {
  readonly keep: DecodeKeep;
  readonly unitTiles?: number;
  readonly firstTiles?: number;
}

/** What codes stand for, in the spread of a tile. */
const LEVELS = [-1.8925, -0.56775, 0.56775, 1.8925];

const HEADS = { qHeads: 4, kvHeads: 2, headDim: 64 } as const;
const SIZES: readonly Sizes[] = [
  { ...HEADS, tokens: 1, pooled: [0, 1, 2], tails: [5, 0, 1], keep: { share: 0.5 } },
  { ...HEADS, tokens: 1, pooled: [7, 40], tails: [5, 9], keep: { share: 0.25 } },
  { ...HEADS, tokens: 1, pooled: [10], tails: [5], keep: { share: 0.1 }, firstTiles: 0 },
  { ...HEADS, tokens: 1, pooled: [10], tails: [5], keep: { share: 0.1 }, firstTiles: 3 },
  { ...HEADS, tokens: 2, pooled: [33], tails: [5], keep: { share: 1 } },
  { ...HEADS, tokens: 0, pooled: [6], tails: [1], keep: { share: 0.5 } },
  { ...HEADS, tokens: 1, pooled: [33, 3], tails: [1, 1], keep: { threshold: 0.9 } },
  { ...HEADS, tokens: 1, pooled: [33], tails: [1], keep: { threshold: 0.3 }, firstTiles: 0 },
  { ...HEADS, tokens: 1, pooled: [33], tails: [1], keep: { threshold: 1 } },
  { ...HEADS, tokens: 16, pooled: [20], tails: [16], keep: { threshold: 0.7 }, unitTiles: 8 },
  { ...HEADS, tokens: 3, pooled: [37, 5], tails: [3, 3], keep: { share: 0.5 }, unitTiles: 4 },
  {
    ...HEADS,
    tokens: 1,
    pooled: [9],
    tails: [1],
    keep: { share: 0.3 },
    unitTiles: 1,
    firstTiles: 0,
  },
  {
    ...{ tokens: 1, pooled: [150, 8], tails: [9, 1], keep: { share: 0.5 } },
    ...{ qHeads: 8, kvHeads: 1, headDim: 128, kvDtype: "bf16" },
  },
];

/** Units of each length that a GPU has code for, with a ragged last one. */
const GPU_SIZES: readonly Sizes[] = [
  {
    ...{ tokens: 1, pooled: [1_024, 900], tails: [9, 1], keep: { share: 0.5 } },
    ...{ qHeads: 4, kvHeads: 2, headDim: 64 },
  },
  {
    ...{ tokens: 1, pooled: [1_100], tails: [9], keep: { threshold: 0.9 } },
    ...{ qHeads: 4, kvHeads: 2, headDim: 64 },
  },
  {
    ...{ tokens: 16, pooled: [300], tails: [16], keep: { share: 0.25 }, unitTiles: 130 },
    ...{ qHeads: 12, kvHeads: 1, headDim: 128 },
  },
];

async function select(
  bench: Bench,
  options: {
    sizes: Sizes;
    chosen?: readonly number[];
    change?: (means: CodedMeans) => Promise<void>;
  },
): Promise<{ counts: Tensor; indices: Tensor; mass: Tensor }> {
  const { sizes } = options;
  const cache = await makeCache(bench, options);
  await options.change?.(cache.means);
  const { size: sequences } = cache.pooledTiles;
  const shape = [sequences, sizes.kvHeads, Math.max(0, ...sizes.pooled) + 2];
  const out = {
    counts: await bench.output("counts", "i32", shape.slice(0, 2)),
    indices: await bench.output("indices", "i32", shape),
    mass: await bench.output("mass", "f32", shape),
  };
  await decodeSelect(bench.device, { ...cache, ...sizes, ...out });
  return out;
}

/** Places behind a sequence's tiles are not written: they are made equal before the comparison. */
async function clearUnused(
  out: { indices: Tensor; mass: Tensor },
  pooled: readonly number[],
): Promise<void> {
  const [, heads = 1, stride = 0] = out.indices.shape;
  const [numbers, masses] = [await out.indices.toInts(), await out.mass.toFloats()];
  for (let row = 0; row < pooled.length * heads; row++) {
    const from = row * stride + (pooled[Math.floor(row / heads)] ?? 0);
    assert(numbers.subarray(from, (row + 1) * stride).every((number) => number === -1));
    masses.fill(0, from, (row + 1) * stride);
  }
  await out.mass.writeFrom(masses);
}

function casesOf(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => ({
    bf16: sizes.kvDtype === "bf16",
    name: `${sizes.tokens} queries, ${sizes.pooled.join(", ")} tiles in units of ` +
      `${sizes.unitTiles ?? 0}, ${sizes.firstTiles ?? 1} first ones, ${
        JSON.stringify(sizes.keep)
      }, ` +
      `${sizes.qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}`,
    run: async (bench) => await clearUnused(await select(bench, { sizes }), sizes.pooled),
  }));
}

/** Means are bf16 on a GPU; masses are sums of shares, by exponentials of 2 ulp. */
const GPU_MASS = { byDtype: { f32: GPU_ATTENTION.byName?.["lse"] ?? F32_SUMS } };
twinTest("decodeSelect()", {
  tolerance: { f32: F32_SUMS },
  cases: casesOf(SIZES),
  gpu: { tolerance: GPU_MASS, cases: casesOf(GPU_SIZES) },
});

const POOLED = [0, 1, 2, 3, 30, 5, 17, 4, 9];
companyTest(
  "decodeSelect()",
  [{ keep: { share: 0.4 }, tokens: 1 }, { keep: { threshold: 0.8 }, tokens: 3, unitTiles: 4 }]
    .map((part): Company => {
      const sizes: Sizes = { ...HEADS, ...part, pooled: POOLED, tails: POOLED.map(() => 4) };
      return {
        name: JSON.stringify(part),
        count: POOLED.length,
        run: async (bench, chosen) => {
          const out = await select(bench, { sizes, chosen });
          await clearUnused(out, chosen.map((i) => POOLED[i] ?? 0));
          const parts = await Promise.all(
            Object.values(out).map(async (tensor) => rowsOf(await tensor.toBytes(), chosen.length)),
          );
          return chosen.map((_, i) => new Uint8Array(parts.flatMap((rows) => [...rows[i] ?? []])));
        },
      };
    }),
);

Deno.test("decodeSelect() takes the largest masses of each unit, by a plain loop", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(51) });
    const unitTiles = 5;
    const sizes: Sizes = {
      ...HEADS,
      tokens: 2,
      pooled: [13],
      tails: [2],
      keep: { share: 0.5 },
      unitTiles,
    };
    const { counts, indices } = await select(bench, { sizes });
    const { q, means, scale } = await makeCache(bench, { sizes });
    const queries = await q.toFloats();
    const [keys, spread] = [await means.keys.toFloats(), await means.spread.toFloats()];
    const words = await means.codes.toInts();
    const { first: [row = 0], rows } = layOutCache(sizes);
    const logit = (t: number, h: number, tile: number): number => {
      const place = (h >> 1) * rows / 128 + row / 128 + tile;
      const sums = Array.from({ length: 128 }, (_, j) => {
        const dots = Array.from({ length: 64 }, (_, d) => {
          const word = words[(place * 128 + j) * 4 + (d >> 4)] ?? 0;
          const level = LEVELS[word >>> (2 * (d % 16)) & 3] ?? NaN;
          const [mean = NaN, by = NaN] = [keys[place * 64 + d], spread[place * 64 + d]];
          return (mean + by * level) * (queries[(t * 4 + h) * 64 + d] ?? NaN);
        });
        return Math.exp(scale * dots.reduce((sum, x) => sum + x));
      });
      return Math.log(sums.reduce((sum, x) => sum + x));
    };
    for (const head of [0, 1]) {
      const chosen: number[] = [];
      for (const tiles of [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12]]) {
        const mass = tiles.map((tile) =>
          [0, 1].flatMap((t) => [2 * head, 2 * head + 1].map((h) => [t, h] as const))
            .reduce((sum, [t, h]) => {
              const total = tiles.reduce((sum, c) => sum + Math.exp(logit(t, h, c)), 0);
              return sum + Math.exp(logit(t, h, tile)) / total;
            }, 0)
        );
        const order = tiles.map((_, i) => i).sort((a, b) => (mass[b] ?? 0) - (mass[a] ?? 0));
        const sink = tiles[0] === 0 ? [0] : [];
        const others = order.filter((i) => !sink.includes(i));
        chosen.push(
          ...[...sink, ...others].slice(0, Math.ceil(tiles.length / 2)).map((i) => tiles[i] ?? -1),
        );
      }
      chosen.sort((a, b) => a - b);
      const all = Array.from({ length: 13 }, (_, tile) => tile);
      const list = (await indices.toInts()).subarray(15 * head, 15 * head + 13);
      assertEquals((await counts.toInts())[head], 3 + 3 + 2);
      assertEquals([...list], [...chosen, ...all.filter((tile) => !chosen.includes(tile))]);
    }
  });
});

/** All keys alike, but for a mean that is no number in one head. */
async function chooseAmongEqual(
  bench: Bench,
  options: { sizes: Sizes; nan: number | undefined },
): Promise<number[][]> {
  const { sizes, nan } = options;
  const { first: [row = 0], rows } = layOutCache(sizes);
  const change = async ({ keys: means, spread }: CodedMeans): Promise<void> => {
    await spread.writeFrom(new Uint8Array(spread.byteLength));
    const values = new Float32Array(means.size).fill(0.25);
    if (nan !== undefined) values[(row / 128 + nan) * 64 + 3] = NaN;
    assertEquals(means.shape, [sizes.kvHeads, rows / 128, 64]);
    const source = await bench.data(`changed ${nan}`, {
      dtype: means.dtype,
      shape: means.shape,
      make: () => values,
    });
    await means.writeFrom(await source.toBytes());
  };
  const { counts, indices } = await select(bench, { sizes, change });
  const [taken, numbers] = [await counts.toInts(), await indices.toInts()];
  const stride = indices.shape[2] ?? 0;
  return [...taken].map((
    count,
    head,
  ) => [...numbers.subarray(head * stride, head * stride + count)]);
}

async function checkOrder(device: Bench["device"]): Promise<void> {
  const isForGpu = device.queryDtype === "bf16";
  const sizes: Sizes = { ...HEADS, tokens: 1, pooled: [8], tails: [2], keep: { share: 0.5 } };
  using bench = new Bench(device, { inputs: new Map(), random: new Random(52), isForGpu });
  assertEquals(await chooseAmongEqual(bench, { sizes, nan: undefined }), [[0, 1, 2, 3], [
    0,
    1,
    2,
    3,
  ]]);
  assertEquals(await chooseAmongEqual(bench, { sizes, nan: 6 }), [[0, 1, 2, 6], [0, 1, 2, 3]]);
  const by = { ...sizes, keep: { threshold: 0.6 } };
  // Eighths and, without the NaN, sevenths of the mass.
  assertEquals(await chooseAmongEqual(bench, { sizes: by, nan: 6 }), [
    [0, 1, 2, 3, 4, 6],
    [0, 1, 2, 3, 4],
  ]);
}

Deno.test("decodeSelect() takes equal tiles in order, and each whose mean is no number", async () => {
  await withCpu(checkOrder);
});

Deno.test({
  name: "decodeSelect() on a GPU takes equal tiles in order, and each whose mean is no number",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds(checkOrder),
});

Deno.test("decodeSelect() throws if a sequence's numbers are out of range", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(8) });
    const sizes: Sizes = { ...HEADS, tokens: 1, pooled: [3], tails: [1], keep: { share: 0.5 } };
    const cache = await makeCache(bench, { sizes });
    const out = {
      counts: await bench.output("counts", "i32", [1, 2]),
      indices: await bench.output("indices", "i32", [1, 2, 3]),
      mass: await bench.output("mass", "f32", [1, 2, 3]),
    };
    for (const [tiles = 0, first = 0] of [[4, 128], [-1, 128], [3, 64], [3, -128], [3, 768]]) {
      const pooledTiles = await integers(bench, "tiles", [tiles]);
      const firstRow = await integers(bench, "first", [first]);
      await assertRejects(
        () => decodeSelect(device, { ...cache, ...sizes, ...out, pooledTiles, firstRow }),
        KernelError,
        "Cannot choose tiles of the cache as",
      );
    }
    for (const keep of [{ share: 0 }, { share: 1.5 }, { threshold: NaN }]) {
      await assertRejects(
        () => decodeSelect(device, { ...cache, ...sizes, ...out, keep }),
        RangeError,
        "must be above 0, at most 1",
      );
    }
  });
});

refusalTest("sx_decode_select", (scene) => ({
  params: {
    counts: scene.zeros("i32", [1, 1]),
    indices: scene.zeros("i32", [1, 1, 2]),
    mass: scene.zeros("f32", [1, 1, 2]),
    q: scene.zeros("f32", [1, 2, 64]),
    qDtype: 0,
    meanKeys: scene.zeros("f32", [1, 2, 64]),
    spread: scene.zeros("f32", [1, 2, 64]),
    codes: scene.zeros("i32", [1, 256, 4]),
    kvDtype: 0,
    firstRow: scene.ints([0]),
    pooledTiles: scene.ints([0]),
    byThreshold: 0,
    sequences: 1,
    qTokens: 1,
    meanCapacity: 2,
    indexStride: 2,
    unitTiles: 0,
    firstTiles: 1,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    meanHeadStride: 128,
    codeHeadStride: 1024,
    scale: 0.125,
    keep: 0.5,
  },
  unchecked: ["firstRow"],
  bf16OnGpu: ["qDtype", "kvDtype"],
  faults: [
    ["qTokens", 17],
    ["headDim", 63],
    ["kvHeads", 0],
    ["indexStride", 2 ** 21],
    ["keep", 0],
    ["keep", NaN],
  ],
}));
