/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { rope, ropeTable } from "../../lib/ops/rope.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { type Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

/** 10,000^(-2i / headDim), as plain RoPE has it. */
async function inverseFrequency(bench: Bench, headDim: number): Promise<Tensor> {
  return await bench.data("inverseFrequency", {
    dtype: "f32",
    shape: [headDim / 2],
    make: (count) => Float32Array.from({ length: count }, (_, i) => 10_000 ** (-i / count)),
  });
}

twinTest("ropeTable()", {
  // Both round the angle to f32 first, and cosines are accurate to some units of 2^-24.
  tolerance: { f32: { absolute: 5e-7, relative: 0, cosine: 1e-10 } },
  cases: [
    { tokens: 1, headDim: 64, high: 1 },
    { tokens: 0, headDim: 64, high: 1 },
    { tokens: 127, headDim: 128, high: 200 },
    { tokens: 129, headDim: 64, high: 131_072 },
    { tokens: 100, headDim: 128, high: 2 ** 24 },
    { tokens: 66_000, headDim: 64, high: 66_000 },
    { tokens: 33, headDim: 50, high: 5000, scale: 1.19 },
    { tokens: 33, headDim: 96, high: 5000, scale: 0.5, isOwn: true },
  ].map(({ tokens, headDim, high, scale = 1, isOwn = false }): TwinCase => ({
    name: `${tokens} tokens, head size ${headDim}, positions below ${high}`,
    run: async (bench) =>
      await ropeTable(bench.device, {
        table: await bench.output("table", "f32", [tokens, headDim]),
        inverseFrequency: isOwn
          ? await bench.floats("inverseFrequency", [tokens, headDim / 2])
          : await inverseFrequency(bench, headDim),
        scale,
        positions: await bench.ints("positions", [tokens], { low: 0, high }),
      }),
  })),
});

interface Sizes {
  readonly tokens: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly qDtype?: DType;
  readonly cacheDtype?: DType;
  readonly qkvDtype?: DType;
  /** Rows of the cache; 0 for no cache. */
  readonly capacity: number;
  /** Dimensions that are rotated. @default {headDim} */
  readonly rotaryDim?: number;
  /** What a head becomes by zeros. @default {headDim} */
  readonly paddedDim?: number;
}

const SIZES: readonly Sizes[] = [
  { tokens: 1, qHeads: 1, kvHeads: 1, headDim: 64, capacity: 1 },
  { tokens: 0, qHeads: 4, kvHeads: 1, headDim: 64, capacity: 5 },
  { tokens: 127, qHeads: 4, kvHeads: 1, headDim: 64, cacheDtype: "bf16", capacity: 130 },
  { tokens: 128, qHeads: 8, kvHeads: 2, headDim: 128, qDtype: "bf16", capacity: 128 },
  { tokens: 129, qHeads: 3, kvHeads: 3, headDim: 128, cacheDtype: "bf16", capacity: 200 },
  { tokens: 50, qHeads: 4, kvHeads: 2, headDim: 64, capacity: 0 },
  { tokens: 66_000, qHeads: 1, kvHeads: 1, headDim: 64, cacheDtype: "bf16", capacity: 66_001 },
  { tokens: 30, qHeads: 3, kvHeads: 1, headDim: 96, paddedDim: 128, capacity: 40 },
  { tokens: 30, qHeads: 2, kvHeads: 2, headDim: 128, rotaryDim: 96, qDtype: "bf16", capacity: 40 },
  { tokens: 30, qHeads: 2, kvHeads: 1, headDim: 100, rotaryDim: 74, paddedDim: 128, capacity: 40 },
  { tokens: 30, qHeads: 2, kvHeads: 1, headDim: 16, rotaryDim: 0, paddedDim: 64, capacity: 40 },
  ...([{ headDim: 64 }, { headDim: 100, rotaryDim: 74, paddedDim: 128 }] as const).map((heads) => ({
    ...{ tokens: 130, qHeads: 4, kvHeads: 2, capacity: 140, ...heads },
    ...{ qkvDtype: "bf16", qDtype: "bf16", cacheDtype: "bf16" } as const,
  })),
  { tokens: 9, qHeads: 2, kvHeads: 1, headDim: 128, qkvDtype: "bf16", capacity: 10 },
];

/** Tokens go to the cache's rows in falling order; every fifth goes to none. */
function cacheRows(tokens: number, capacity: number): Int32Array<ArrayBuffer> {
  return Int32Array.from(
    { length: tokens },
    (_, t) => capacity === 0 || t % 5 === 4 ? -1 : capacity - 1 - t,
  );
}

twinTest("rope()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: SIZES.map((sizes): TwinCase => {
    const { tokens, qHeads, kvHeads, headDim, capacity } = sizes;
    const { qDtype = "f32", cacheDtype = "f32", rotaryDim = headDim, paddedDim = headDim } = sizes;
    const { qkvDtype = "f32" } = sizes;
    return {
      name: `${tokens} tokens, ${qHeads}/${kvHeads} heads of ${headDim}, ${rotaryDim} rotated, ` +
        `padded to ${paddedDim}, cache of ${capacity}, from ${qkvDtype}`,
      run: async (bench) => {
        const shape = [kvHeads, capacity, paddedDim];
        await rope(bench.device, {
          qOut: await bench.output("qOut", qDtype, [tokens, qHeads, paddedDim]),
          cache: capacity === 0 ? undefined : {
            keys: await bench.output("keys", cacheDtype, shape),
            values: await bench.output("values", cacheDtype, shape),
          },
          qkv: await bench.floats("qkv", [tokens, (qHeads + 2 * kvHeads) * headDim], {
            dtype: qkvDtype,
          }),
          table: rotaryDim === 0 ? undefined : await bench.floats("table", [tokens, rotaryDim]),
          rows: await bench.data("rows", {
            dtype: "i32",
            shape: [tokens],
            make: () => cacheRows(tokens, capacity),
          }),
          qHeads,
          kvHeads,
          headDim,
        });
      },
    };
  }),
});

Deno.test("rope() throws if a row lies outside of the cache", async () => {
  await withCpu(async (device) => {
    const make = (dtype: DType, shape: number[]): Tensor =>
      Tensor.allocate(device, { dtype, shape, label: "t" });
    using qOut = make("f32", [1, 1, 64]);
    using keys = make("f32", [1, 4, 64]);
    using values = make("f32", [1, 4, 64]);
    using qkv = make("f32", [1, 192]);
    using table = make("f32", [1, 64]);
    using rows = make("i32", [1]);
    await qkv.writeFrom(new Float32Array(192).fill(1));
    const sizes = { qHeads: 1, kvHeads: 1, headDim: 64 };
    for (const row of [4, -2, 2 ** 31 - 1]) {
      await rows.writeFrom(Int32Array.of(row));
      await assertRejects(
        () => rope(device, { qOut, cache: { keys, values }, qkv, table, rows, ...sizes }),
        RangeError,
        `Cannot run rope as 'rows' must lie within -1 to 3: current value is ${row}`,
      );
    }
    await rows.writeFrom(Int32Array.of(0));
    await assertRejects(
      () => rope(device, { qOut, qkv, table, rows, ...sizes }),
      RangeError,
      "Cannot run rope as 'rows' must lie within -1 to -1: current value is 0",
    );
    assertEquals(await qOut.toFloats(), new Float32Array(64));
  });
});

refusalTest("sx_rope_table", (scene) => ({
  params: {
    table: scene.zeros("f32", [2, 64]),
    inverseFrequency: scene.zeros("f32", [32]),
    positions: scene.ints([0, 1]),
    tokens: 2,
    rotaryDim: 64,
    frequencyStride: 0,
    scale: 1,
  },
  faults: [["rotaryDim", 63], ["rotaryDim", 258], ["scale", NaN]],
}));

refusalTest("sx_rope", (scene) => ({
  params: {
    qOut: scene.zeros("f32", [2, 2, 64]),
    keys: scene.zeros("f32", [1, 4, 64]),
    values: scene.zeros("f32", [1, 4, 64]),
    qkv: scene.zeros("f32", [2, 256]),
    table: scene.zeros("f32", [2, 64]),
    rows: scene.ints([0, 1]),
    qDtype: 0,
    qkvDtype: 0,
    cacheDtype: 0,
    tokens: 2,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    rotaryDim: 64,
    outDim: 64,
  },
  // Whether keys and values are needed stands in the rows, on the device.
  uncheckedOnGpu: ["keys", "values"],
  faults: [["qDtype", 2], ["cacheDtype", 3], ["qkvDtype", 2], ["headDim", 63]],
}));
