/**
 * @module
 */
import { add } from "../../lib/ops/add.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES = [
  { rows: 1, dim: 1, isShared: false },
  { rows: 0, dim: 8, isShared: true },
  { rows: 127, dim: 129, isShared: true },
  { rows: 128, dim: 768, isShared: false },
  { rows: 66_000, dim: 5, isShared: true },
] as const;

twinTest("add()", {
  tolerance: { f32: EXACT },
  cases: SIZES.map(({ rows, dim, isShared }): TwinCase => ({
    name: `${rows} rows of ${dim}, ${isShared ? "a bias" : "rows"}`,
    run: async (bench) => {
      const all = await bench.output("out", "f32", [rows, dim + 3]);
      await all.writeFrom(Float32Array.from({ length: all.size }, (_, i) => i % 17));
      await add(bench.device, {
        out: all.columns(2, dim),
        in: await bench.floats("in", isShared ? [dim] : [rows, dim]),
      });
    },
  })),
});

refusalTest("sx_add", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 4]),
    in: scene.zeros("f32", [2, 4]),
    rows: 2,
    dim: 4,
    outStride: 4,
    inStride: 4,
  },
  faults: [["outStride", 3]],
}));
