/**
 * @module
 */
import { argmax, topK } from "../../lib/ops/sample.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type Bench, type TwinCase, twinTest } from "../helpers/twin.ts";
import type { Tensor } from "../../lib/device/tensor.ts";

/** Few different values, so that many are equal; one of some rows is not finite. */
async function logitsWithTies(
  bench: Bench,
  options: { shape: readonly number[]; special: boolean },
): Promise<Tensor> {
  return await bench.data("logits", {
    dtype: "f32",
    shape: options.shape,
    make: (count, random) => {
      const values = Float32Array.from(random.ints(count, { low: -20, high: 20 }));
      if (options.special) {
        const columns = options.shape.at(-1) ?? 1;
        const kinds = [NaN, Infinity, -Infinity];
        for (let first = 0; first < count; first += columns) {
          const kind = kinds[random.below(6)];
          if (kind !== undefined) values[first + random.below(columns)] = kind;
        }
      }
      return values;
    },
  });
}

twinTest("argmax()", {
  tolerance: {},
  cases: [
    { rows: 1, count: 1, special: false },
    { rows: 0, count: 7, special: false },
    { rows: 3, count: 127, special: true },
    { rows: 2, count: 129, special: false },
    { rows: 5, count: 4096, special: true },
    { rows: 1, count: 128_256, special: false },
    { rows: 3, count: 20_001, special: true },
    { rows: 66_000, count: 9, special: true },
  ].map(({ rows, count, special }): TwinCase => ({
    name: `${rows} rows of ${count}${special ? ", not all finite" : ""}`,
    run: async (bench) =>
      await argmax(bench.device, {
        out: await bench.output("out", "i32", [rows]),
        logits: await logitsWithTies(bench, { shape: [rows, count], special }),
      }),
  })),
});

twinTest("topK()", {
  tolerance: { f32: EXACT },
  cases: [
    { k: 1, count: 1 },
    { k: 1, count: 129 },
    { k: 24, count: 4096 },
    { k: 127, count: 127 },
    { k: 300, count: 1000 },
    { k: 8, count: 128_256 },
  ].map(({ k, count }): TwinCase => ({
    name: `${k} of ${count}`,
    run: async (bench) =>
      await topK(bench.device, {
        ids: await bench.output("ids", "i32", [k]),
        values: await bench.output("values", "f32", [k]),
        logits: await logitsWithTies(bench, { shape: [count], special: false }),
      }),
  })),
});

refusalTest("sx_argmax", (scene) => ({
  params: { out: scene.zeros("i32", [2]), logits: scene.zeros("f32", [2, 4]), rows: 2, count: 4 },
  faults: [["count", 0], ["count", 2 ** 31]],
}));

refusalTest("sx_top_k", (scene) => ({
  params: {
    outIds: scene.zeros("i32", [2]),
    outValues: scene.zeros("f32", [2]),
    logits: scene.zeros("f32", [4]),
    count: 4,
    k: 2,
  },
  faults: [["k", 0], ["k", 5], ["count", 0]],
}));
