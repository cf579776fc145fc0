/**
 * @module
 */
import { swiglu } from "../../lib/ops/swiglu.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { BF16_STEP, F32_SUMS } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES = [
  { rows: 1, dim: 1, out: "f32" },
  { rows: 0, dim: 8, out: "f32" },
  { rows: 127, dim: 129, out: "bf16" },
  { rows: 128, dim: 768, out: "f32" },
  { rows: 3, dim: 1535, out: "bf16" },
  { rows: 66_000, dim: 5, out: "f32" },
  { rows: 127, dim: 129, out: "bf16", from: "bf16" },
  { rows: 40, dim: 768, out: "bf16", from: "bf16" },
  { rows: 9, dim: 64, out: "f32", from: "bf16" },
] as const;

const sizeCases = SIZES.map(({ rows, dim, out, ...rest }): TwinCase => ({
  name: `${rows} rows of ${dim}, ${"from" in rest ? rest.from : "f32"} to ${out}`,
  run: async (bench) =>
    await swiglu(bench.device, {
      out: await bench.output("out", out, [rows, dim]),
      gateUp: await bench.floats("gateUp", [rows, 2 * dim], {
        dtype: "from" in rest ? rest.from : "f32",
        scale: 3,
      }),
    }),
}));

/** Gates at which the exponential overflows or vanishes, infinities and NaN, each times 1. */
const GATES = [
  0,
  -0,
  1e-30,
  20,
  -20,
  87,
  -87,
  89,
  -89,
  104,
  -104,
  1000,
  -1000,
  1e30,
  NaN,
  Infinity,
];

const extremeCase: TwinCase = {
  name: "extreme gates",
  run: async (bench) =>
    await swiglu(bench.device, {
      out: await bench.output("out", "f32", [1, GATES.length]),
      gateUp: await bench.data("gateUp", {
        dtype: "f32",
        shape: [1, 2 * GATES.length],
        make: () => Float32Array.from([...GATES, ...GATES.map(() => 1)]),
      }),
    }),
};

twinTest("swiglu()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: [...sizeCases, extremeCase],
});

refusalTest("sx_swiglu", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 4]),
    gateUp: scene.zeros("f32", [2, 8]),
    outDtype: 0,
    gateUpDtype: 0,
    rows: 2,
    dim: 4,
  },
  faults: [["outDtype", 2], ["outDtype", 3], ["gateUpDtype", 2], ["gateUpDtype", 3]],
}));
