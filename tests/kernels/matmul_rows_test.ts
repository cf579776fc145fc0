/**
 * @module
 */
import { Tensor } from "../../lib/device/tensor.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { assertEquals } from "../helpers/assert.ts";
import { type Company, companyTest, pickRows, rowsOf } from "../helpers/company.ts";
import {
  BF16,
  F8_WEIGHT,
  int8Cases,
  PRODUCT_FAULTS,
  PRODUCT_NULLS,
  PRODUCT_SIZES,
  PRODUCT_TOLERANCE,
  productCases,
  productParams,
  type ProductSizes,
  weightOf,
} from "../helpers/products.ts";
import { machineSets, withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { twinTest } from "../helpers/twin.ts";

/** Decoding's shapes, and every width of a pass. */
const GPU_SIZES: readonly ProductSizes[] = [
  ...[1, 2, 8, 9, 16, 17, 32, 33, 64, 65].map((m) => ({ m, n: 520, k: 1_024, ...BF16 } as const)),
  { m: 1, n: 4_096, k: 4_096, ...BF16 },
  { m: 16, n: 4_096, k: 1_792, ...BF16, accumulate: true },
  { m: 3, n: 1_000, k: 2_056, ...BF16, accumulate: true },
  ...[1, 2, 8, 9, 16, 17, 32, 33, 64, 65].map((m) => (
    { m, n: 520, k: 1_024, ...F8_WEIGHT } as const
  )),
  { m: 1, n: 4_096, k: 4_096, ...F8_WEIGHT },
  // 384 tiles of 16 rows of weights, or 192 of 32: as the queries, keys and values of an 8B model have.
  { m: 2, n: 6_144, k: 2_048, ...F8_WEIGHT },
  { m: 16, n: 4_096, k: 1_792, ...F8_WEIGHT, accumulate: true },
  { m: 3, n: 1_000, k: 4_112, ...F8_WEIGHT, accumulate: true },
  { m: 12, n: 20_000, k: 128, ...F8_WEIGHT },
  // Rows that have no room in shared memory, and come with the weights.
  { m: 16, n: 100, k: 8_192, ...BF16 },
  { m: 16, n: 100, k: 8_192, ...F8_WEIGHT },
  { m: 5, n: 50, k: 14_336, ...F8_WEIGHT },
  // x in shared memory a turn at a time, with room for all of them and with room for two; a ragged end.
  { m: 20, n: 300, k: 4_096, ...F8_WEIGHT },
  { m: 32, n: 100, k: 14_336, ...F8_WEIGHT },
  { m: 50, n: 200, k: 8_208, ...F8_WEIGHT, accumulate: true },
  { m: 32, n: 300, k: 4_096, ...BF16 },
  { m: 50, n: 100, k: 8_200, ...BF16, accumulate: true },
  { m: 24, n: 9_000, k: 128, ...F8_WEIGHT, gap: 16 },
  // More tiles than blocks, so that a queue goes on from one tile to the next.
  { m: 12, n: 20_000, k: 128, ...BF16 },
];

twinTest("matmulRows()", {
  tolerance: PRODUCT_TOLERANCE,
  cases: productCases(PRODUCT_SIZES, matmulRows),
  gpu: { cases: productCases(GPU_SIZES, matmulRows) },
});

twinTest("matmulRows() by 8 bits", { tolerance: {}, cases: int8Cases(matmulRows) });

const WIDEST = 70;

const COMPANIES: readonly Company[] = ([
  { n: 67, k: 2_056, ...BF16 },
  { n: 41, k: 1_001, ...BF16 },
  { n: 67, k: 4_112, ...F8_WEIGHT },
  { n: 41, k: 1_001, ...F8_WEIGHT },
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
      weight: await weightOf(bench, [n, k], weight),
    });
    return rowsOf(await out.toBytes(), chosen.length);
  },
}));

companyTest("matmulRows()", COMPANIES);

refusalTest("sx_matmul_rows", (scene) => ({
  params: { product: productParams(scene) },
  unchecked: PRODUCT_NULLS.map((name) => `product.${name}`),
  faults: PRODUCT_FAULTS.map(([name, value]) => [`product.${name}`, value]),
}));

/** In elements of bf16: of a line of 32, by what a file's header and other matrices leave. */
const OFFSETS = [1, 2, 4, 6, 16, 30];

for (const instructionSet of await machineSets()) {
  Deno.test(`matmulRows(): where weights lie changes no bit, ${instructionSet}`, () =>
    withCpu(async (device) => {
      const random = new Random(19);
      for (const [m, n, k] of [[1, 37, 320], [2, 9, 64], [8, 26, 2048], [11, 25, 96]] as const) {
        using owned = new DisposableStack();
        const tensor = (dtype: "f32" | "bf16", shape: readonly number[]) =>
          owned.use(Tensor.allocate(device, { dtype, shape, label: "of the test" }));
        const x = tensor("bf16", [m, k]);
        await x.writeFrom(random.floats(x.size, 1));
        const numbers = random.floats(n * k, 1);
        const product = async (offset: number): Promise<Uint8Array> => {
          const whole = tensor("bf16", [n * k + 32]);
          // What lies beside the weights must not be added.
          await whole.writeFrom(new Float32Array(whole.size).fill(NaN));
          const weight = whole.rows(offset, n * k);
          await weight.writeFrom(numbers);
          const out = tensor("f32", [m, n]);
          await matmulRows(device, { out, x, weight: weight.reshape([n, k]) });
          return await out.toBytes();
        };
        const aligned = await product(0);
        for (const offset of OFFSETS) {
          assertEquals(await product(offset), aligned, `${m} x ${n} x ${k}, offset ${offset}`);
        }
      }
    }, { instructionSet, threads: 2 }));
}
