/**
 * @module
 */
import { PANEL_ROWS } from "../../lib/ffi/symbols.ts";
import { Int8Matrix } from "../../lib/device/int8_matrix.ts";
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { quantize } from "../../lib/ops/quantize.ts";
import { assert, assertEquals, assertThrows } from "../helpers/assert.ts";
import { int8Numbers, int8Weight } from "../helpers/products.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES = [
  { n: 1, k: 1, from: "f32", data: "usual" },
  { n: 16, k: 64, from: "bf16", data: "usual" },
  { n: 17, k: 65, from: "f32", data: "zero rows" },
  { n: 40, k: 1_030, from: "bf16", data: "an outlier" },
  { n: 33, k: 2_048, from: "f32", data: "extreme scales" },
  { n: 31, k: 77, from: "f32", data: "not finite" },
  { n: 50, k: 1_100, from: "i8", data: "usual" },
  { n: 0, k: 8, from: "bf16", data: "usual" },
] as const;

const CASES: readonly TwinCase[] = SIZES.map(({ n, k, from, data }) => ({
  name: `${n} x ${k} ${from}, ${data}`,
  exact: true,
  run: async (bench): Promise<void> => {
    await int8Weight(bench, { n, k, from, data });
  },
}));

const HALVES: TwinCase = {
  name: "20 x 100 f16",
  exact: true,
  run: async (bench): Promise<void> => {
    const source = await bench.floats("in", [20, 100], { dtype: "f16", scale: 100 });
    await quantize(bench.device, { out: await bench.int8Output("out", [20, 100]), in: source });
  },
};

twinTest("quantize()", { tolerance: {}, cases: [...CASES, HALVES] });

refusalTest("sx_quantize", (scene) => ({
  params: {
    out: scene.zeros("i8", [1024]),
    scales: scene.zeros("f32", [4]),
    in: scene.zeros("f32", [4, 8]),
    inDtype: 0,
    n: 4,
    k: 8,
  },
  faults: [["inDtype", 3], ["inDtype", 4]],
}));

Deno.test("a product of 8 bits is near that of floats, and a zero row gives exact zeros", async () => {
  using device = await openCpuDevice({ threads: 1 });
  using owned = new DisposableStack();
  const [m, n, k] = [3, 37, 200];
  const tensor = (label: string, shape: number[]) =>
    owned.use(Tensor.allocate(device, { dtype: "f32", shape, label }));
  const random = new Random(7);
  const x = tensor("x", [m, k]);
  await x.writeFrom(random.floats(m * k, 1).fill(0, k, 2 * k));
  const floats = tensor("weight", [n, k]);
  await floats.writeFrom(int8Numbers(random, { count: n * k, width: k, data: "zero rows" }));
  const weight = Int8Matrix.allocate(device, { shape: [n, k], label: "8 bits" }, owned);
  await quantize(device, { out: weight, in: floats });
  const [exact, rounded] = [tensor("exact", [m, n]), tensor("rounded", [m, n])];
  await matmul(device, { out: exact, x, weight: floats });
  await matmul(device, { out: rounded, x, weight });
  const [expected, found] = [await exact.toFloats(), await rounded.toFloats()];
  for (const [i, value] of found.entries()) {
    const [row, column] = [Math.floor(i / n), i % n];
    if (row === 1 || column % 3 === 1) assertEquals(value, 0, `[${row}, ${column}]`);
    // 200 products, each off by at most 1/254 of the largest factors, in random directions.
    assert(Math.abs(value - (expected[i] ?? 0)) < 1, `[${row}, ${column}] ${value} ${expected[i]}`);
  }
});

Deno.test("rows of a matrix in 8 bits begin with a panel", async () => {
  using device = await openCpuDevice({ threads: 1 });
  using owned = new DisposableStack();
  const matrix = Int8Matrix.allocate(device, { shape: [40, 8], label: "weights" }, owned);
  assertEquals([...matrix.rows(PANEL_ROWS, 24).shape], [24, 8]);
  assertThrows(
    () => matrix.rows(8, 8),
    RangeError,
    "Cannot take rows of 'weights' as the first one must be a multiple of 16: current value is 8",
  );
});
