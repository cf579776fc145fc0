/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { type Company, companyTest, pickRows, rowsOf } from "../helpers/company.ts";
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

const BOTH = { x: "bf16", weight: "bf16" } as const;

const SIZES: readonly Sizes[] = [
  { m: 1, n: 1, k: 1 },
  { m: 0, n: 5, k: 8 },
  { m: 3, n: 0, k: 8, ...BOTH },
  { m: 1, n: 257, k: 64 },
  { m: 1, n: 256, k: 576, weight: "bf16" },
  { m: 2, n: 31, k: 1023, weight: "bf16", accumulate: true },
  { m: 3, n: 64, k: 100, ...BOTH },
  { m: 5, n: 7, k: 9, gap: 3 },
  { m: 7, n: 33, k: 1_001, ...BOTH, gap: 1 },
  { m: 8, n: 130, k: 256, weight: "bf16", gap: 5 },
  { m: 9, n: 127, k: 129, accumulate: true, gap: 1 },
  { m: 16, n: 19, k: 24, ...BOTH, gap: 8 },
  { m: 17, n: 33, k: 65, ...BOTH, accumulate: true },
  { m: 40, n: 50, k: 1_160, ...BOTH },
  { m: 70, n: 35, k: 320, ...BOTH, gap: 2 },
  { m: 130, n: 20, k: 96, weight: "bf16" },
];

/** Decoding's shapes, and every width of a pass. */
const GPU_SIZES: readonly Sizes[] = [
  ...[1, 2, 8, 9, 16, 17, 32, 33, 64, 65].map((m) => ({ m, n: 520, k: 1_024, ...BOTH } as const)),
  { m: 1, n: 4_096, k: 4_096, ...BOTH },
  { m: 16, n: 4_096, k: 1_792, ...BOTH, accumulate: true },
  { m: 3, n: 1_000, k: 2_056, ...BOTH, accumulate: true },
  // More tiles than blocks, so that a queue goes on from one tile to the next.
  { m: 12, n: 20_000, k: 128, ...BOTH },
];

function productCases(all: readonly Sizes[]): TwinCase[] {
  return all.map(({ m, n, k, x = "f32", weight = "f32", accumulate = false, gap = 0 }) => ({
    name: `${m} x ${n} x ${k}, ${x} by ${weight}${accumulate ? ", added" : ""}, gap ${gap}`,
    run: async (bench): Promise<void> => {
      const wide = await bench.floats("x", [m, k + gap], { dtype: x });
      const initial = await bench.floats("initial", [m, n + gap]);
      const out = await bench.outputFrom("out", initial);
      await matmulRows(bench.device, {
        out: out.columns(gap, n),
        x: wide.columns(gap, k),
        weight: await bench.floats("weight", [n, k], { dtype: weight }),
        accumulate,
      });
    },
  }));
}

twinTest("matmulRows()", {
  // As matmul()'s: sums of up to 4,096 products of variance 1, in another order than the twin's.
  tolerance: { f32: { absolute: 5e-4, relative: 1e-5, cosine: 1e-9 } },
  cases: productCases(SIZES),
  gpu: { cases: productCases(GPU_SIZES) },
});

const WIDEST = 70;

const COMPANIES: readonly Company[] = ([
  { n: 67, k: 2_056, ...BOTH },
  { n: 41, k: 1_001, ...BOTH },
  { n: 50, k: 300, x: "f32", weight: "bf16" },
  { n: 50, k: 129, x: "f32", weight: "f32" },
] as const).map(({ n, k, x, weight }) => ({
  name: `rows of ${n} x ${k}, ${x} by ${weight}`,
  count: WIDEST,
  run: async (bench, chosen): Promise<Uint8Array[]> => {
    const rows = await bench.floats("rows", [WIDEST, k]);
    const values = pickRows(await rows.toFloats(), { chosen, width: k });
    const inputs = await bench.floats(`x${chosen.length}`, [chosen.length, k], { dtype: x });
    await inputs.writeFrom(values);
    const out = await bench.output("out", "f32", [chosen.length, n]);
    await matmulRows(bench.device, {
      out,
      x: inputs,
      weight: await bench.floats("weight", [n, k], { dtype: weight }),
    });
    return rowsOf(await out.toBytes(), chosen.length);
  },
}));

companyTest("matmulRows()", COMPANIES);

refusalTest("sx_matmul_rows", (scene) => ({
  params: {
    product: {
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
  },
  faults: [
    ["product.xDtype", 1],
    ["product.weightDtype", 2],
    ["product.xStride", 7],
    ["product.outStride", 3],
  ],
}));
