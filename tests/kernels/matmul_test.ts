/**
 * @module
 */
import { matmul } from "../../lib/ops/matmul.ts";
import {
  BF16,
  int8Cases,
  PRODUCT_FAULTS,
  PRODUCT_NULLS,
  PRODUCT_SIZES,
  PRODUCT_TOLERANCE,
  productCases,
  productParams,
  type ProductSizes,
} from "../helpers/products.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

/** What only many rows show. */
const MANY_ROWS: readonly ProductSizes[] = [
  { m: 300, n: 193, k: 576 },
  { m: 64, n: 48, k: 2500, weight: "bf16" },
  { m: 20, n: 3000, k: 40, weight: "bf16" },
  { m: 66_000, n: 3, k: 9 },
  { m: 66_000, n: 17, k: 8, ...BF16 },
  // Results that go past a CPU's caches: in whole lines, and with a part of a line at the end of each
  // row. What is added, or rows that begin inside of lines, do not go past them.
  { m: 300, n: 3_536, k: 72, ...BF16, gap: 16 },
  { m: 300, n: 3_541, k: 72, ...BF16, behind: 11 },
  { m: 300, n: 3_536, k: 72, ...BF16, accumulate: true },
  { m: 300, n: 3_541, k: 72, ...BF16 },
];

/** Decoding's shapes, their edges, and the first number of rows that goes to cuBLAS. */
const GPU_SIZES: readonly ProductSizes[] = [
  ...[1, 2, 4, 5, 8, 15, 16, 17].map((m) => (
    { m, n: 520, k: 1024, ...BF16 } as const
  )),
  { m: 1, n: 4096, k: 4096, ...BF16 },
  { m: 3, n: 1000, k: 2_056, ...BF16, accumulate: true },
  { m: 7, n: 33, k: 1_001, ...BF16, gap: 1 },
  { m: 16, n: 19, k: 24, ...BF16, gap: 8 },
];

twinTest("matmul()", {
  tolerance: PRODUCT_TOLERANCE,
  cases: productCases([...PRODUCT_SIZES, ...MANY_ROWS], matmul),
  gpu: { cases: productCases(GPU_SIZES, matmul) },
});

twinTest("matmul() by 8 bits", { tolerance: {}, cases: int8Cases(matmul) });

twinTest("matmul() with NaN and infinities", {
  tolerance: PRODUCT_TOLERANCE,
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
  params: productParams(scene),
  unchecked: PRODUCT_NULLS,
  faults: [...PRODUCT_FAULTS],
}));
