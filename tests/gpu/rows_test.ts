/**
 * Products of decode steps on a GPU, of a real model's sizes: a row has the same bits whatever the number
 * of rows, though blocks share the work in other ways with few rows and with many. Products have more
 * tiles than there are blocks, x that stays in shared memory, and x that comes in turns.
 *
 * @module
 */
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import type { MatmulArguments } from "../../lib/ops/matmul.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { quantizeRows } from "../../lib/ops/quantize_rows.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { assertSameBytes } from "../helpers/compare.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";

/** All rows at once are two passes over the weights. */
const MOST_ROWS = 70;
/** Numbers of rows around those at which the work is shared out in another way. */
const COUNTS = [1, 8, 9, 16, 17, 24, 25, 32, 33, 48, 49, 64] as const;

const MATRICES = [
  { n: 6_144, k: 4_096 },
  { n: 14_336, k: 4_096 },
  { n: 4_096, k: 14_336 },
  // A ragged last tile, and a depth that ends within a turn of the warps.
  { n: 9_001, k: 3_600 },
  { n: 1_000, k: 11_008 },
] as const;

async function floats(
  device: Device,
  owned: DisposableStack,
  options: { shape: readonly number[]; random: Random },
): Promise<Tensor> {
  const { shape, random } = options;
  const tensor = owned.use(Tensor.allocate(device, { dtype: "bf16", shape, label: "of the test" }));
  await tensor.writeFrom(random.floats(tensor.size, 1));
  return tensor;
}

async function compareCounts(
  device: Device,
  { x, weight }: { x: Tensor; weight: MatmulArguments["weight"] },
): Promise<void> {
  const [n] = weight.shape;
  const width = n ?? 0;
  using whole = Tensor.allocate(device, { dtype: "f32", shape: [MOST_ROWS, width], label: "all" });
  using some = Tensor.allocate(device, { dtype: "f32", shape: [MOST_ROWS, width], label: "some" });
  await matmulRows(device, { out: whole, x, weight });
  const all = await whole.toBytes();
  assert((await whole.toFloats()).every(Number.isFinite), "random numbers have finite sums");
  for (const count of COUNTS) {
    const first = (MOST_ROWS - count) >> 1;
    const out = some.rows(0, count);
    await matmulRows(device, { out, x: x.rows(first, count), weight });
    assertSameBytes(await out.toBytes(), {
      expected: all.subarray(first * width * 4, (first + count) * width * 4),
      subject: { name: `${count} rows of ${weight.shape.join(" x ")}`, shape: [count, width] },
    });
  }
}

for (const { n, k } of MATRICES) {
  Deno.test({
    name: `rows of ${n} x ${k} on a GPU have the same bits in any number`,
    ignore: !HAS_GPU,
    fn: async () => {
      using device = await openCudaDevice();
      using owned = new DisposableStack();
      const random = new Random(n + k);
      const x = await floats(device, owned, { shape: [MOST_ROWS, k], random });
      const weight = await floats(device, owned, { shape: [n, k], random });
      const rounded = Fp8Matrix.allocate(device, { shape: [n, k], label: "rounded" }, owned);
      await quantizeRows(device, { out: rounded, in: weight });
      await compareCounts(device, { x, weight });
      await compareCounts(device, { x, weight: rounded });
      owned.dispose();
      assertEquals(device.liveAllocations, 0);
    },
  });
}
