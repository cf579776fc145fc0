/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { decodeSelect } from "../../lib/ops/decode_select.ts";
import { keyCodes } from "../../lib/ops/key_codes.ts";
import { tileMeans } from "../../lib/ops/tile_means.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSegment } from "../helpers/attention.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly tiles: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly kvDtype?: DType;
  readonly meanDtype?: DType;
}

const SIZES: readonly Sizes[] = [
  { tiles: 1, kvHeads: 1, headDim: 64 },
  { tiles: 0, kvHeads: 2, headDim: 64 },
  { tiles: 3, kvHeads: 2, headDim: 128, kvDtype: "bf16", meanDtype: "bf16" },
  { tiles: 2, kvHeads: 3, headDim: 64, kvDtype: "bf16" },
  { tiles: 2, kvHeads: 1, headDim: 128, meanDtype: "bf16" },
];

/** Tiles from the second row of the means on. */
async function encode(bench: Bench, sizes: Sizes) {
  const { tiles, kvHeads, headDim, meanDtype = bench.isForGpu ? "bf16" : "f32" } = sizes;
  const shape = [kvHeads, tiles + 2, headDim];
  const means = {
    keys: await bench.floats("mean keys", shape, { dtype: meanDtype, scale: 0.1 }),
    values: await bench.floats("mean values", shape, { dtype: meanDtype }),
    spread: await bench.output("spread", meanDtype, shape),
    codes: await bench.output("codes", "i32", [kvHeads, 128 * (tiles + 2), headDim / 16]),
    ...{ start: 1, tokens: tiles },
  };
  const all = { ...sizes, tokens: 0, keyTokens: 128 * tiles, qHeads: kvHeads, offset: 0 };
  const keys = await makeSegment(bench, "keys", all);
  await keyCodes(bench.device, { means, keys });
  return { means, keys };
}

function casesOf(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => ({
    name: `${sizes.tiles} tiles, ${sizes.kvHeads} heads of ${sizes.headDim}, ` +
      `${sizes.kvDtype ?? "f32"} with ${sizes.meanDtype ?? "f32"}`,
    run: async (bench) => void await encode(bench, sizes),
  }));
}

// Every backend rounds alike, so that a tile is scored alike wherever its codes were made.
twinTest("keyCodes()", {
  tolerance: { f32: EXACT, bf16: EXACT },
  cases: casesOf(SIZES),
  gpu: { cases: casesOf([{ tiles: 300, kvHeads: 8, headDim: 128 }]) },
});

Deno.test("keyCodes() says where each number lies about the tile's mean", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(5) });
    const { means, keys } = await encode(bench, { tiles: 2, kvHeads: 2, headDim: 64 });
    await tileMeans(device, { means, keys });
    await keyCodes(device, { means, keys });
    const numbers = await keys.keys.toFloats();
    const [mean, spread, words] = [
      await means.keys.toFloats(),
      await means.spread.toFloats(),
      await means.codes.toInts(),
    ];
    const [, capacity = 0] = keys.keys.shape;
    let [error, size] = [0, 0];
    for (let place = 0; place < 2 * 256 * 64; place++) {
      const [head, key, d] = [
        Math.floor(place / 64 / 256),
        Math.floor(place / 64) % 256,
        place % 64,
      ];
      const at = (head * 4 + 1 + Math.floor(key / 128)) * 64 + d;
      const [m = NaN, s = NaN] = [mean[at], spread[at]];
      const word = words[(head * 512 + 128 + key) * 4 + Math.floor(d / 16)] ?? 0;
      const code = word >>> (2 * (d % 16)) & 3;
      const x = numbers[(head * capacity + keys.start + key) * 64 + d] ?? NaN;
      const z = (x - m) / s;
      assert(code === (z < -1.2302 ? 0 : z < 0 ? 1 : z < 1.2302 ? 2 : 3) || Math.abs(z) < 1e-5);
      error += (x - m - s * ([-1.8925, -0.56775, 0.56775, 1.8925][code] ?? NaN)) ** 2;
      size += (x - m) ** 2;
    }
    // 0.118 for a normal distribution; the numbers of the tests are spread more evenly.
    assert(error < 0.12 * size, `${error / size}`);
    await assertRejects(
      () => keyCodes(device, { means, keys: { ...keys, tokens: 255 } }),
      RangeError,
      "Cannot run keyCodes as 'keys' must be those of the 2 tiles: current value is 255",
    );
  });
});

Deno.test("keyCodes() marks what is no number, and takes equal keys", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(6) });
    const { means, keys } = await encode(bench, { tiles: 2, kvHeads: 1, headDim: 64 });
    const numbers = new Float32Array(keys.keys.size).fill(0.5);
    numbers[(keys.start + 130) * 64 + 7] = NaN;
    await keys.keys.writeFrom(numbers);
    await tileMeans(device, { means, keys });
    await keyCodes(device, { means, keys });
    const spread = (await means.spread.toFloats()).subarray(64, 3 * 64);
    assertEquals([...spread].map((x, i) => [i, x]).filter(([, x]) => x !== 0), [[64 + 7, NaN]]);
  });
});

refusalTest("sx_key_codes", (scene) => ({
  params: {
    codes: scene.zeros("i32", [1, 128, 4]),
    spread: scene.zeros("f32", [1, 1, 64]),
    meanKeys: scene.zeros("f32", [1, 1, 64]),
    meanDtype: 0,
    keys: scene.zeros("f32", [1, 128, 64]),
    kvDtype: 0,
    keyTokens: 128,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 8192,
    firstTile: 0,
    tileCount: 1,
    meanHeadStride: 64,
    codeHeadStride: 512,
  },
  bf16OnGpu: ["kvDtype"],
  faults: [
    ["headDim", 63],
    ["kvHeads", 0],
    ["tileCount", 2],
    ["firstTile", 1],
    ["meanDtype", 3],
  ],
}));

Deno.test("keyCodes() keeps a single key among 128 in sight, which their mean hides", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(9) });
    const tiles = 12;
    const { means, keys } = await encode(bench, { tiles, kvHeads: 1, headDim: 64 });
    const q = await bench.queries("q", [1, 1, 64]);
    const query = await q.toFloats();
    const numbers = await keys.keys.toFloats();
    const row = (key: number) => numbers.subarray((keys.start + key) * 64).subarray(0, 64);
    const alike = row(7 * 128 + 45);
    query.forEach((x, d) => alike[d] = 3 * x);
    // All keys of tile 3 look a little alike: their mean is the most similar of all.
    for (let key = 3 * 128; key < 4 * 128; key++) {
      const near = row(key);
      query.forEach((x, d) => near[d] = (near[d] ?? NaN) + 0.15 * x);
    }
    await keys.keys.writeFrom(numbers);
    await tileMeans(device, { means, keys });
    await keyCodes(device, { means, keys });
    const mean = await means.keys.toFloats();
    const logits = Array.from(
      { length: tiles },
      (_, tile) => query.reduce((sum, x, d) => sum + x * (mean[(tile + 1) * 64 + d] ?? NaN), 0),
    );
    assertEquals(logits.indexOf(Math.max(...logits)), 3);
    const counts = await bench.output("counts", "i32", [1, 1]);
    const indices = await bench.output("indices", "i32", [1, 1, tiles]);
    const mass = await bench.output("mass", "f32", [1, 1, tiles]);
    const pooledTiles = await bench.ints("tiles", [1], { low: tiles, high: tiles + 1 });
    await pooledTiles.writeFrom(Int32Array.of(tiles));
    const lists = { counts, indices, mass, q, means, pooledTiles, firstTiles: 0, scale: 0.125 };
    await decodeSelect(device, { ...lists, keep: { share: 1 / tiles } });
    assertEquals([(await counts.toInts())[0], (await indices.toInts())[0]], [1, 7]);
  });
});
