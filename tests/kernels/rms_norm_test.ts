/**
 * @module
 */
import { rmsNorm } from "../../lib/ops/rms_norm.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES = [
  { rows: 1, dim: 1, out: "f32", weight: "f32", delta: false },
  { rows: 0, dim: 64, out: "f32", weight: "f32", delta: true },
  { rows: 1, dim: 576, out: "bf16", weight: "bf16", delta: true },
  { rows: 127, dim: 63, out: "f32", weight: "bf16", delta: true },
  { rows: 129, dim: 256, out: "bf16", weight: "f32", delta: false },
  { rows: 5, dim: 2049, out: "f32", weight: "bf16", delta: true },
  { rows: 66_000, dim: 11, out: "bf16", weight: "bf16", delta: true },
] as const;

const sizeCases = SIZES.map(({ rows, dim, out, weight, delta }): TwinCase => ({
  name: `${rows} rows of ${dim}, ${weight} to ${out}${delta ? ", with delta" : ""}`,
  run: async (bench) => {
    const residual = await bench.floats("residual", [rows, dim]);
    await rmsNorm(bench.device, {
      out: await bench.output("out", out, [rows, dim]),
      residual: delta ? await bench.outputFrom("residual", residual) : residual,
      weight: await bench.floats("weight", [dim], { dtype: weight }),
      eps: 1e-5,
      delta: delta ? await bench.floats("delta", [rows, dim], { scale: 3 }) : undefined,
    });
  },
}));

/** Rows of zeros, of numbers whose squares overflow, with infinities and NaN. */
const extremeCase: TwinCase = {
  name: "rows of extreme numbers",
  run: async (bench) => {
    const dim = 70;
    const residual = await bench.data("residual", {
      dtype: "f32",
      shape: [6, dim],
      make: (count, random) => {
        const values = random.floats(count, 1);
        values.fill(0, 0, dim);
        for (let i = dim; i < 2 * dim; i++) values[i] = (values[i] ?? 0) * 1e-25;
        for (let i = 2 * dim; i < 3 * dim; i++) values[i] = (values[i] ?? 0) * 1e15;
        values[3 * dim + 5] = NaN;
        values[4 * dim + 69] = NaN;
        return values;
      },
    });
    await rmsNorm(bench.device, {
      out: await bench.output("out", "f32", [6, dim]),
      residual,
      weight: await bench.floats("weight", [dim]),
      eps: 1e-6,
    });
  },
};

twinTest("rmsNorm()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: [...sizeCases, extremeCase],
});

refusalTest("sx_rms_norm", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 8]),
    residual: scene.zeros("f32", [2, 8]),
    delta: scene.zeros("f32", [2, 8]),
    weight: scene.zeros("f32", [8]),
    outDtype: 0,
    weightDtype: 0,
    rows: 2,
    dim: 8,
    eps: 1e-5,
  },
  unchecked: ["delta"],
  faults: [["outDtype", 2], ["outDtype", 3], ["weightDtype", 2], ["weightDtype", 3]],
}));
