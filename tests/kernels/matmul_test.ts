/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly x?: DType;
  readonly weight?: DType;
  readonly accumulate?: boolean;
  /** Columns that x and out have besides those that are used. */
  readonly gap?: number;
}

const SIZES: readonly Sizes[] = [
  { m: 1, n: 1, k: 1 },
  { m: 0, n: 5, k: 8 },
  { m: 1, n: 257, k: 64 },
  { m: 1, n: 256, k: 576, weight: "bf16" },
  { m: 2, n: 31, k: 1023, weight: "bf16", accumulate: true },
  { m: 3, n: 64, k: 100, x: "bf16", weight: "bf16" },
  { m: 5, n: 7, k: 9, gap: 3 },
  { m: 8, n: 130, k: 256, weight: "bf16", gap: 5 },
  { m: 9, n: 127, k: 129, accumulate: true, gap: 1 },
  { m: 17, n: 33, k: 65, weight: "bf16" },
  { m: 127, n: 96, k: 256, x: "bf16", weight: "bf16", accumulate: true },
  { m: 128, n: 256, k: 256, weight: "bf16" },
  { m: 129, n: 259, k: 131, weight: "bf16", gap: 7 },
  { m: 130, n: 100, k: 77, x: "bf16", weight: "bf16", gap: 2 },
  { m: 300, n: 193, k: 576 },
  { m: 64, n: 48, k: 2500, weight: "bf16" },
  { m: 20, n: 3000, k: 40, weight: "bf16" },
  { m: 66_000, n: 3, k: 9 },
  { m: 66_000, n: 17, k: 8, x: "bf16", weight: "bf16" },
];

/** Decoding's shapes, their edges, and the first number of rows that goes to cuBLAS. */
const GPU_SIZES: readonly Sizes[] = [
  ...[1, 2, 4, 5, 8, 15, 16, 17].map((m) => (
    { m, n: 520, k: 1024, x: "bf16", weight: "bf16" } as const
  )),
  { m: 1, n: 4096, k: 4096, x: "bf16", weight: "bf16" },
  { m: 3, n: 1000, k: 2_056, x: "bf16", weight: "bf16", accumulate: true },
  { m: 7, n: 33, k: 1_001, x: "bf16", weight: "bf16", gap: 1 },
  { m: 16, n: 19, k: 24, x: "bf16", weight: "bf16", gap: 8 },
];

function productCases(all: readonly Sizes[]): TwinCase[] {
  return all.map(({ m, n, k, x = "f32", weight = "f32", accumulate = false, gap = 0 }) => ({
    name: `${m} x ${n} x ${k}, ${x} by ${weight}${accumulate ? ", added" : ""}, gap ${gap}`,
    run: async (bench): Promise<void> => {
      const wide = await bench.floats("x", [m, k + gap], { dtype: x });
      const initial = await bench.floats("initial", [m, n + gap]);
      const out = await bench.outputFrom("out", initial);
      await matmul(bench.device, {
        out: out.columns(gap, n),
        x: wide.columns(gap, k),
        weight: await bench.floats("weight", [n, k], { dtype: weight }),
        accumulate,
      });
    },
  }));
}

twinTest("matmul()", {
  // Sums of up to 2,500 products of variance 1: the numbers are near sqrt(k), at most 200, and the
  // order of the additions moves them by about sqrt(k) * 2^-24 of that, some 5e-4 at worst.
  tolerance: { f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } },
  cases: productCases(SIZES),
  gpu: { cases: productCases(GPU_SIZES) },
});

twinTest("matmul() with NaN and infinities", {
  tolerance: { f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } },
  cases: [1, 40].map((m) => ({
    name: `${m} rows`,
    run: async (bench): Promise<void> => {
      const [n, k] = [20, 37];
      const x = await bench.data("x", {
        dtype: "f32",
        shape: [m, k],
        make: (count, random) => {
          const values = random.floats(count, 1);
          values[36] = NaN;
          if (m > 1) [values[5 * k], values[39 * k + 3]] = [Infinity, -Infinity];
          return values;
        },
      });
      await matmul(bench.device, {
        out: await bench.output("out", "f32", [m, n]),
        x,
        weight: await bench.floats("weight", [n, k], { dtype: "bf16" }),
      });
    },
  } satisfies TwinCase)),
});

refusalTest("sx_matmul", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 4]),
    x: scene.zeros("f32", [2, 8]),
    weight: scene.zeros("f32", [4, 8]),
    xDtype: 0,
    weightDtype: 0,
    accumulate: 0,
    m: 2,
    n: 4,
    k: 8,
    xStride: 8,
    outStride: 4,
  },
  // Strides below the row's length; bf16 activations with f32 weights.
  faults: [["xDtype", 1], ["xDtype", 2], ["weightDtype", 2], ["weightDtype", 3], ["xStride", 7], [
    "outStride",
    3,
  ]],
}));
