/**
 * @module
 */
import { headNorm } from "../../lib/ops/head_norm.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES = [
  { rows: 1, heads: 1, dim: 1, weight: "f32" },
  { rows: 0, heads: 4, dim: 64, weight: "f32" },
  { rows: 127, heads: 3, dim: 100, weight: "bf16" },
  { rows: 128, heads: 8, dim: 128, weight: "bf16" },
  { rows: 5, heads: 1, dim: 4096, weight: "f32" },
  { rows: 3, heads: 2, dim: 257, weight: "bf16" },
  { rows: 66_000, heads: 2, dim: 16, weight: "bf16" },
] as const;

twinTest("headNorm()", {
  tolerance: { f32: F32_SUMS },
  cases: SIZES.map(({ rows, heads, dim, weight }): TwinCase => ({
    name: `${rows} rows of ${heads} heads of ${dim}, ${weight}`,
    run: async (bench) => {
      // Other heads stand beside these in a row.
      const all = await bench.output("x", "f32", [rows, heads * dim + 3]);
      await all.writeFrom(Float32Array.from({ length: all.size }, (_, i) => Math.sin(i * 0.37)));
      await headNorm(bench.device, {
        x: all.columns(2, heads * dim),
        weight: await bench.floats("weight", [dim], { dtype: weight }),
        eps: 1e-6,
      });
    },
  })),
});

refusalTest("sx_head_norm", (scene) => ({
  params: {
    x: scene.zeros("f32", [2, 8]),
    weight: scene.zeros("f32", [4]),
    weightDtype: 0,
    rows: 2,
    heads: 2,
    dim: 4,
    rowStride: 8,
    eps: 1e-6,
  },
  faults: [["weightDtype", 2], ["dim", 0], ["eps", -1]],
}));
