/**
 * @module
 */
import { wordSum } from "../../lib/ops/word_sum.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const LIMITS = { low: -2_000_000_000, high: 2_000_000_000 };

twinTest("wordSum()", {
  tolerance: {},
  cases: [
    ...[0, 1, 31, 32, 33, 4096, 131_072, 131_073, 1_000_003].map((count): TwinCase => ({
      name: `${count} words`,
      run: async (bench) =>
        await wordSum(bench.device, {
          out: await bench.output("out", "i32", [1]),
          in: await bench.ints("in", [count], LIMITS),
        }),
    })),
    // A matrix of a file begins where the one before it ends.
    ...[1, 2, 3, 5, 17].map((first): TwinCase => ({
      name: `bf16 from element ${first} on`,
      run: async (bench) => {
        const whole = await bench.floats("in", [70_000], { dtype: "bf16" });
        await wordSum(bench.device, {
          out: await bench.output("out", "i32", [1]),
          in: whole.rows(first, 69_980),
        });
      },
    })),
  ],
});

refusalTest("sx_word_sum", (scene) => ({
  params: { out: scene.zeros("i32", [1]), in: scene.zeros("f32", [8]), bytes: 32 },
  faults: [["bytes", -4], ["bytes", 6]],
}));
