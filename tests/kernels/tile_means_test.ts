/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { tileMeans } from "../../lib/ops/tile_means.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSegment, type SequenceSizes } from "../helpers/attention.ts";
import { HAS_GPU, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes
  extends Pick<SequenceSizes, "keyTokens" | "prefixTokens" | "kvHeads" | "headDim" | "kvDtype"> {
  readonly firstTile?: number;
  readonly tiles?: number;
  readonly meanDtype?: DType;
}

/** One key, a ragged tile, no own keys, some tiles of both segments, no tile. */
const SIZES: readonly Sizes[] = [
  { keyTokens: 1, kvHeads: 1, headDim: 64 },
  { keyTokens: 128, kvHeads: 2, headDim: 128, kvDtype: "bf16" },
  { keyTokens: 300, kvHeads: 3, headDim: 64, kvDtype: "bf16", meanDtype: "bf16" },
  { keyTokens: 129, prefixTokens: 256, kvHeads: 2, headDim: 128 },
  { keyTokens: 700, prefixTokens: 128, kvHeads: 2, headDim: 64, firstTile: 1, tiles: 3 },
  { keyTokens: 0, prefixTokens: 384, kvHeads: 1, headDim: 128, firstTile: 2, meanDtype: "bf16" },
  { keyTokens: 100, kvHeads: 1, headDim: 64, firstTile: 1 },
];

function meansCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { keyTokens, prefixTokens = 0, kvHeads, headDim, firstTile = 0, meanDtype } = sizes;
    const most = Math.ceil((prefixTokens + keyTokens) / 128);
    const { tiles = most - firstTile } = sizes;
    const run = async (bench: Bench): Promise<void> => {
      const shape = [kvHeads, most + 2, headDim];
      const common = { ...sizes, tokens: 0, qHeads: kvHeads };
      // Rows of other tiles stay as they are: NaN in all outputs.
      const means = {
        keys: await bench.output("mean keys", meanDtype ?? "f32", shape),
        values: await bench.output("mean values", meanDtype ?? "f32", shape),
        ...{ start: 1, tokens: most },
      };
      const prefix = prefixTokens === 0 ? undefined : await makeSegment(bench, "prefix", {
        ...{ ...common, keyTokens: prefixTokens, offset: 0 },
      });
      const keys = await makeSegment(bench, "keys", { ...common, offset: prefixTokens });
      await tileMeans(bench.device, { means, keys, prefix, firstTile, tiles });
    };
    return {
      name: `tiles ${firstTile} to ${firstTile + tiles} of ${prefixTokens} + ${keyTokens} keys, ` +
        `${kvHeads} heads of ${headDim}, ${sizes.kvDtype ?? "f32"} to ${meanDtype ?? "f32"}`,
      run,
    };
  });
}

twinTest("tileMeans()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: meansCases(SIZES),
  gpu: { cases: meansCases([{ keyTokens: 20_000, kvHeads: 8, headDim: 128 }]) },
});

async function growsPieceByPiece(bench: Bench): Promise<void> {
  const { device } = bench;
  const sizes = { tokens: 0, keyTokens: 700, qHeads: 2, kvHeads: 2, headDim: 64 } as const;
  const keys = await makeSegment(bench, "keys", { ...sizes, offset: 0 });
  using owned = new DisposableStack();
  const make = () => {
    const shape = [2, 6, 64];
    const tensor = () => owned.use(Tensor.allocate(device, { dtype: "f32", shape, label: "mean" }));
    return { keys: tensor(), values: tensor(), start: 0, tokens: 6 };
  };
  const [whole, grown] = [make(), make()];
  await tileMeans(device, { means: whole, keys });
  // Tile 2 is written when it has 44 keys, and again when it is full.
  for (const [tokens, firstTile] of [[300, 0], [520, 2], [700, 4]] as const) {
    await tileMeans(device, { means: grown, keys: { ...keys, tokens }, firstTile });
  }
  assertEquals(await grown.keys.toBytes(), await whole.keys.toBytes());
  assertEquals(await grown.values.toBytes(), await whole.values.toBytes());
  await assertRejects(
    () => tileMeans(device, { means: { ...whole, tokens: 5 }, keys }),
    RangeError,
    "Cannot run tileMeans as 'means' must have the 6 tiles: current value is 5",
  );
  await assertRejects(
    () => tileMeans(device, { means: whole, keys, firstTile: 5, tiles: 2 }),
    RangeError,
    "Cannot run tileMeans as 'tiles' must be a whole number, at least 0 and at most 1: " +
      "current value is 2",
  );
}

Deno.test("tileMeans() gives the same bits piece by piece, and refuses tiles that there are not", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(8) });
    await growsPieceByPiece(bench);
  });
});

Deno.test({
  name: "tileMeans() on a GPU gives the same bits piece by piece",
  ignore: !HAS_GPU,
  fn: () =>
    withGpuBuilds(async (device) => {
      const shared = { inputs: new Map(), random: new Random(8), isForGpu: true };
      using bench = new Bench(device, shared);
      await growsPieceByPiece(bench);
    }),
});

refusalTest("sx_tile_means", (scene) => ({
  params: {
    meanKeys: scene.zeros("f32", [1, 3, 64]),
    meanValues: scene.zeros("f32", [1, 3, 64]),
    meanDtype: 0,
    kv: {
      keys: scene.zeros("f32", [1, 130, 64]),
      values: scene.zeros("f32", [1, 130, 64]),
      prefixKeys: scene.zeros("f32", [1, 128, 64]),
      prefixValues: scene.zeros("f32", [1, 128, 64]),
      dtype: 0,
      keyTokens: 130,
      prefixTokens: 128,
      kvHeads: 1,
      headDim: 64,
      tokenStride: 64,
      headStride: 130 * 64,
      prefixTokenStride: 64,
      prefixHeadStride: 128 * 64,
      prefixGap: 0,
    },
    firstTile: 1,
    tileCount: 2,
    meanHeadStride: 192,
  },
  bf16OnGpu: ["kv.dtype"],
  faults: [
    ["meanDtype", 2],
    ["kv.prefixTokens", 127],
    ["kv.headDim", 96],
    ["kv.kvHeads", 0],
    ["firstTile", 2],
    ["tileCount", 3],
  ],
}));
