/**
 * @module
 */
import { selectTiles } from "../../lib/ops/select_tiles.ts";
import { KernelError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly heads: number;
  readonly qTiles: number;
  readonly firstTile: number;
  /** One for all heads, or one for each. */
  readonly threshold: number | readonly number[];
  /** Room in a row of indices besides the key tiles. */
  readonly spare?: number;
  readonly window?: number;
  /** Whether each tile must have the share by itself. */
  readonly byShare?: boolean;
  /** The mass of a tile: whole numbers, so that every order of a sum is exact. */
  readonly mass: (random: Random) => number;
}

/** Few different values: many ties, many zeros. */
const ties = (random: Random): number => Math.max(random.below(6) - 2, 0);
/** Few large tiles among many small ones. */
const steep = (random: Random): number => 2 ** random.below(12);
/** The same with NaN in most of the longer rows, of which what is always chosen is left. */
const holey = (random: Random): number => random.below(20) === 0 ? NaN : steep(random);

const SIZES: readonly Sizes[] = [
  { heads: 1, qTiles: 1, firstTile: 0, threshold: 0.95, mass: steep },
  { heads: 2, qTiles: 0, firstTile: 0, threshold: 0.95, mass: steep },
  { heads: 3, qTiles: 17, firstTile: 0, threshold: 0.5, mass: ties },
  { heads: 4, qTiles: 33, firstTile: 7, threshold: 0.95, spare: 3, mass: steep },
  { heads: 2, qTiles: 20, firstTile: 44, threshold: 0.9, mass: ties },
  { heads: 2, qTiles: 20, firstTile: 1, threshold: 1e-6, mass: steep },
  { heads: 2, qTiles: 20, firstTile: 0, threshold: 0.999, mass: steep },
  { heads: 2, qTiles: 20, firstTile: 3, threshold: 1, mass: ties },
  { heads: 2, qTiles: 9, firstTile: 3, threshold: 0.95, mass: () => 0 },
  { heads: 3, qTiles: 24, firstTile: 0, threshold: 0.7, mass: ties, window: 700 },
  { heads: 2, qTiles: 20, firstTile: 6, threshold: 1, mass: steep, window: 300 },
  { heads: 8, qTiles: 300, firstTile: 0, threshold: 0.8, mass: steep },
  { heads: 3, qTiles: 20, firstTile: 2, threshold: 0, mass: steep },
  { heads: 5, qTiles: 33, firstTile: 4, threshold: [0, 0.3, 0.9, 0.999, 1], mass: steep },
  { heads: 4, qTiles: 17, firstTile: 0, threshold: [1, 0, 1e-6, 0.6], spare: 5, mass: ties },
  { heads: 3, qTiles: 24, firstTile: 3, threshold: [0.5, 0, 1], mass: steep, window: 700 },
  { heads: 3, qTiles: 300, firstTile: 8, threshold: [0.8, 1, 0], mass: steep },
  { heads: 3, qTiles: 40, firstTile: 2, threshold: 0.8, mass: holey },
  { heads: 2, qTiles: 20, firstTile: 0, threshold: 1, mass: holey, window: 900 },
  { heads: 1, qTiles: 1, firstTile: 0, threshold: 0.5, mass: steep, byShare: true },
  { heads: 3, qTiles: 40, firstTile: 0, threshold: 0.1, mass: holey, window: 1_500, byShare: true },
  { heads: 3, qTiles: 17, firstTile: 0, threshold: 0.125, mass: ties, byShare: true },
  { heads: 4, qTiles: 33, firstTile: 7, threshold: 0.02, spare: 3, mass: steep, byShare: true },
  { heads: 2, qTiles: 20, firstTile: 3, threshold: 0, mass: ties, byShare: true },
  { heads: 2, qTiles: 20, firstTile: 3, threshold: 2, mass: steep, byShare: true },
  { heads: 2, qTiles: 9, firstTile: 3, threshold: 0.5, mass: () => 0, byShare: true },
  { heads: 3, qTiles: 24, firstTile: 0, threshold: 0.1, mass: ties, window: 700, byShare: true },
  { heads: 3, qTiles: 40, firstTile: 3, threshold: [0.05, 0, 1], mass: steep, byShare: true },
  { heads: 2, qTiles: 300, firstTile: 900, threshold: 0.003, mass: steep, byShare: true },
];

async function runSelect(bench: Bench, sizes: Sizes): Promise<{ keyTiles: number }> {
  const { heads, qTiles, firstTile, threshold, spare = 0, mass } = sizes;
  const keyTiles = firstTile + qTiles;
  await selectTiles(bench.device, {
    counts: await bench.output("counts", "i32", [heads, qTiles]),
    indices: await bench.output("indices", "i32", [heads, qTiles, keyTiles + spare]),
    mass: await bench.data("mass", {
      dtype: "f32",
      shape: [heads, qTiles, keyTiles],
      make: (count, random) =>
        Float32Array.from({ length: count }, (_, i) => {
          const row = firstTile + Math.floor(i / keyTiles) % qTiles;
          const value = mass(random);
          return i % keyTiles <= row ? value : 0;
        }),
    }),
    firstTile,
    threshold: typeof threshold === "number" ? threshold : await bench.data("threshold", {
      dtype: "f32",
      shape: [heads],
      make: () => Float32Array.from(threshold),
    }),
    window: sizes.window,
    byShare: sizes.byShare,
  });
  return { keyTiles };
}

twinTest("selectTiles()", {
  tolerance: {},
  cases: SIZES.map((sizes): TwinCase => ({
    name: `${sizes.heads} heads, ${sizes.qTiles} rows from ${sizes.firstTile}, ` +
      `threshold ${String(sizes.threshold)}${sizes.byShare === true ? " each" : ""}, ` +
      `window ${sizes.window ?? 0}`,
    run: async (bench) => {
      await runSelect(bench, sizes);
      await clearUnused(bench);
    },
  })),
});

/** Numbers beyond a row's count mean nothing: they are made equal before the comparison. */
async function clearUnused(bench: Bench): Promise<void> {
  const [counts, indices] = bench.outputTensors();
  assert(counts !== undefined && indices !== undefined);
  const [taken, numbers] = [await counts.toInts(), await indices.toInts()];
  const stride = indices.shape[2] ?? 0;
  taken.forEach((count, row) => numbers.fill(-1, row * stride + count, (row + 1) * stride));
  await indices.writeFrom(numbers);
}

Deno.test("selectTiles() takes every causal tile at threshold 1", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(10) });
    // The sum of such numbers falls short of itself in another order.
    const mass = (random: Random): number => random.unit() * 1e-3;
    const sizes = { heads: 2, qTiles: 70, firstTile: 5, threshold: 1, mass };
    const { keyTiles } = await runSelect(bench, sizes);
    const [counts, indices] = bench.outputTensors();
    assert(counts !== undefined && indices !== undefined);
    const [taken, numbers] = [await counts.toInts(), await indices.toInts()];
    taken.forEach((count, row) => {
      assertEquals(count, 5 + row % 70 + 1);
      const list = [...numbers.subarray(row * keyTiles, row * keyTiles + count)];
      assertEquals(list, list.map((_, i) => i));
    });
  });
});

Deno.test("sx_select_tiles refuses thresholds of heads that are below 0 or no numbers", async () => {
  await withCpu(async (device) => {
    for (const wrong of [-1, NaN]) {
      using bench = new Bench(device, { inputs: new Map(), random: new Random(11) });
      const sizes = { heads: 3, qTiles: 2, firstTile: 0, mass: steep };
      await assertRejects(
        () => runSelect(bench, { ...sizes, threshold: [0.5, 1, wrong] }),
        KernelError,
        "threshold must be at least 0",
      );
    }
  });
});

refusalTest("sx_select_tiles", (scene) => ({
  params: {
    counts: scene.zeros("i32", [2, 2]),
    indices: scene.zeros("i32", [2, 2, 3]),
    mass: scene.zeros("f32", [2, 2, 3]),
    heads: 2,
    qTiles: 2,
    keyTiles: 3,
    firstTile: 1,
    indexStride: 3,
    window: 0,
    prefixTokens: 0,
    prefixGap: 0,
    headThresholds: 0n,
    threshold: 0.9,
    byShare: 0,
  },
  unchecked: ["headThresholds"],
  faults: [["firstTile", 2], ["indexStride", 2], ["threshold", -1], ["threshold", NaN], [
    "byShare",
    2,
  ]],
}));
