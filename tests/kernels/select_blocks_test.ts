/**
 * @module
 */
import { selectBlocks } from "../../lib/ops/select_blocks.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly heads: number;
  readonly qBlocks: number;
  readonly firstBlock: number;
  readonly threshold: number;
  /** Room in a row of indices besides the key blocks. */
  readonly spare?: number;
  /** The mass of a cell: whole numbers, so that every order of a sum is exact. */
  readonly mass: (random: Random) => number;
}

/** Few different values: many ties, many zeros. */
const ties = (random: Random): number => Math.max(random.below(6) - 2, 0);
/** Few large cells among many small ones. */
const steep = (random: Random): number => 2 ** random.below(12);

const SIZES: readonly Sizes[] = [
  { heads: 1, qBlocks: 1, firstBlock: 0, threshold: 0.95, mass: steep },
  { heads: 2, qBlocks: 0, firstBlock: 0, threshold: 0.95, mass: steep },
  { heads: 3, qBlocks: 17, firstBlock: 0, threshold: 0.5, mass: ties },
  { heads: 4, qBlocks: 33, firstBlock: 7, threshold: 0.95, spare: 3, mass: steep },
  { heads: 2, qBlocks: 20, firstBlock: 44, threshold: 0.9, mass: ties },
  { heads: 2, qBlocks: 20, firstBlock: 1, threshold: 1e-6, mass: steep },
  { heads: 2, qBlocks: 20, firstBlock: 0, threshold: 0.999, mass: steep },
  { heads: 2, qBlocks: 20, firstBlock: 3, threshold: 1, mass: ties },
  { heads: 2, qBlocks: 9, firstBlock: 3, threshold: 0.95, mass: () => 0 },
  { heads: 8, qBlocks: 300, firstBlock: 0, threshold: 0.8, mass: steep },
];

async function runSelect(bench: Bench, sizes: Sizes): Promise<{ keyBlocks: number }> {
  const { heads, qBlocks, firstBlock, threshold, spare = 0, mass } = sizes;
  const keyBlocks = firstBlock + qBlocks;
  await selectBlocks(bench.device, {
    counts: await bench.output("counts", "i32", [heads, qBlocks]),
    indices: await bench.output("indices", "i32", [heads, qBlocks, keyBlocks + spare]),
    mass: await bench.data("mass", {
      dtype: "f32",
      shape: [heads, qBlocks, keyBlocks],
      make: (count, random) =>
        Float32Array.from({ length: count }, (_, i) => {
          const row = firstBlock + Math.floor(i / keyBlocks) % qBlocks;
          const value = mass(random);
          return i % keyBlocks <= row ? value : 0;
        }),
    }),
    firstBlock,
    threshold,
  });
  return { keyBlocks };
}

twinTest("selectBlocks()", {
  tolerance: {},
  cases: SIZES.map((sizes): TwinCase => ({
    name: `${sizes.heads} heads, ${sizes.qBlocks} rows from ${sizes.firstBlock}, ` +
      `threshold ${sizes.threshold}`,
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

Deno.test("selectBlocks() takes every causal block at threshold 1", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(10) });
    // The sum of such numbers falls short of itself in another order.
    const mass = (random: Random): number => random.unit() * 1e-3;
    const sizes = { heads: 2, qBlocks: 70, firstBlock: 5, threshold: 1, mass };
    const { keyBlocks } = await runSelect(bench, sizes);
    const [counts, indices] = bench.outputTensors();
    assert(counts !== undefined && indices !== undefined);
    const [taken, numbers] = [await counts.toInts(), await indices.toInts()];
    taken.forEach((count, row) => {
      assertEquals(count, 5 + row % 70 + 1);
      const list = [...numbers.subarray(row * keyBlocks, row * keyBlocks + count)];
      assertEquals(list, list.map((_, i) => i));
    });
  });
});

refusalTest("sx_select_blocks", (scene) => ({
  args: [
    scene.zeros("i32", [2, 2]),
    scene.zeros("i32", [2, 2, 3]),
    scene.zeros("f32", [2, 2, 3]),
    2n,
    2n,
    3n,
    1n,
    3n,
    0.9,
  ],
  faults: [[6, 2n], [7, 2n], [8, 0], [8, -1], [8, NaN]],
}));
