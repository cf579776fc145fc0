/**
 * @module
 */
import { Tensor } from "../../lib/device/tensor.ts";
import { attentionDense } from "../../lib/ops/attention_dense.ts";
import { tileMass } from "../../lib/ops/tile_mass.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { makeSequence, type SequenceSizes } from "../helpers/attention.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { massOfChunk, massParams } from "../helpers/tile_masses.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly qOffset: number;
  readonly window?: number;
  readonly prefixGap?: number;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, keyTokens: 1, qHeads: 1, kvHeads: 1, headDim: 64 },
  { tokens: 0, qOffset: 128, keyTokens: 128, qHeads: 2, kvHeads: 1, headDim: 64 },
  { tokens: 127, qOffset: 0, keyTokens: 127, qHeads: 4, kvHeads: 1, headDim: 64 },
  { tokens: 128, qOffset: 0, keyTokens: 128, qHeads: 2, kvHeads: 2, headDim: 128 },
  { tokens: 129, qOffset: 0, keyTokens: 129, qHeads: 8, kvHeads: 1, headDim: 64, kvDtype: "bf16" },
  { tokens: 400, qOffset: 0, keyTokens: 400, qHeads: 3, kvHeads: 3, headDim: 128 },
  {
    tokens: 300,
    qOffset: 256,
    prefixTokens: 256,
    keyTokens: 300,
    qHeads: 4,
    kvHeads: 2,
    headDim: 64,
    kvDtype: "bf16",
  },
  {
    tokens: 250,
    qOffset: 640,
    prefixTokens: 128,
    keyTokens: 762,
    qHeads: 6,
    kvHeads: 2,
    headDim: 128,
  },
  { tokens: 500, qOffset: 0, keyTokens: 500, qHeads: 4, kvHeads: 2, headDim: 64, window: 200 },
  {
    tokens: 400,
    qOffset: 256,
    prefixTokens: 256,
    prefixGap: 128,
    keyTokens: 400,
    qHeads: 2,
    kvHeads: 1,
    headDim: 128,
    window: 330,
  },
];

/** All keys in the prefix, the diagonal among them; more rows than a tile has. */
const GPU_SIZES: readonly Sizes[] = [
  {
    tokens: 256,
    qOffset: 0,
    prefixTokens: 256,
    keyTokens: 0,
    qHeads: 4,
    kvHeads: 1,
    headDim: 64,
  },
  { tokens: 1_300, qOffset: 0, keyTokens: 1_300, qHeads: 6, kvHeads: 2, headDim: 128 },
];

function massCases(all: readonly Sizes[]): TwinCase[] {
  return all.map((sizes) => {
    const { tokens, qOffset, keyTokens, prefixTokens = 0, qHeads, window, prefixGap } = sizes;
    const tiles = [Math.ceil(tokens / 128), Math.ceil((keyTokens + prefixTokens) / 128)];
    return {
      name: `${tokens} queries from ${qOffset}, ${prefixTokens} + ${keyTokens} keys, ` +
        `${qHeads}/${sizes.kvHeads} heads of ${sizes.headDim}, window ${window ?? 0}`,
      run: async (bench) =>
        await tileMass(bench.device, {
          mass: await bench.output("mass", "f32", [qHeads, ...tiles]),
          ...await makeSequence(bench, sizes),
          // Any number will do: the op takes it as it is.
          lse: await bench.data("lse", {
            dtype: "f32",
            shape: [tokens, qHeads],
            make: (count, random) => Float32Array.from({ length: count }, () => 8 * random.unit()),
          }),
          ...{ qOffset, window, prefixGap },
        }),
    };
  });
}

twinTest("tileMass()", {
  // A tile sums up to 16,384 weights; each is off by some 1e-6 of itself.
  tolerance: { f32: { absolute: 2e-5, relative: 2e-5, cosine: 1e-9 } },
  cases: massCases(SIZES),
  gpu: { cases: massCases(GPU_SIZES) },
});

Deno.test("tileMass() of attentionDense() adds up to a row's queries, in one call and by chunks", async () => {
  const [tokens, chunk] = [600, 256];
  const sizes = { tokens, keyTokens: tokens, qHeads: 4, kvHeads: 2, headDim: 64 } as const;
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(5) });
    const { q, keys, scale } = await makeSequence(bench, sizes);
    const massOf = async (qOffset: number, count: number): Promise<Float32Array> => {
      const segment = { ...keys, tokens: qOffset + count };
      const shape = [sizes.qHeads, Math.ceil(count / 128), Math.ceil(segment.tokens / 128)];
      using owned = new DisposableStack();
      const make = (label: string, extents: readonly number[]) =>
        owned.use(Tensor.allocate(device, { dtype: "f32", shape: extents, label }));
      const [mass, lse, out] = [
        make("mass", shape),
        make("lse", [count, sizes.qHeads]),
        make("out", [count, sizes.qHeads, sizes.headDim]),
      ];
      const common = { q: q.rows(qOffset, count), keys: segment, qOffset, scale };
      await attentionDense(device, { out, lse, ...common });
      await tileMass(device, { mass, lse, ...common });
      return await mass.toFloats();
    };
    const whole = await massOf(0, tokens);
    const width = Math.ceil(tokens / 128);
    for (let row = 0; row < sizes.qHeads * width; row++) {
      const queries = Math.min(128, tokens - row % width * 128);
      const sum = whole.subarray(row * width, (row + 1) * width).reduce((a, b) => a + b, 0);
      assert(Math.abs(sum - queries) < 1e-3 * queries, `row ${row}: ${sum} of ${queries}`);
    }
    for (let qOffset = 0; qOffset < tokens; qOffset += chunk) {
      const count = Math.min(chunk, tokens - qOffset);
      const part = await massOf(qOffset, count);
      const place = { heads: sizes.qHeads, qOffset, tokens: count, allTokens: tokens };
      const { mass: expected } = massOfChunk(whole, place);
      assertEquals(part, expected);
    }
  }, { instructionSet: "avx2" });
});

refusalTest("sx_tile_mass", (scene) => ({
  params: {
    tiles: massParams(scene),
    lseLog2: scene.zeros("f32", [2, 2]),
  },
  unchecked: ["tiles.kv.values", "tiles.kv.prefixValues", "tiles.stride"],
  bf16OnGpu: ["tiles.qDtype", "tiles.kv.dtype"],
  faults: [
    ["tiles.qOffset", 127],
    ["tiles.qOffset", 0],
    ["tiles.kv.prefixTokens", 127],
    ["tiles.kv.keyTokens", 3],
    ["tiles.kv.headDim", 63],
    ["tiles.scale", NaN],
  ],
}));
