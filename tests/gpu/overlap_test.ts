/**
 * Ops of a decode step on a GPU, whose kernels begin while those before them still run: the same bits as if
 * each were waited for.
 *
 * @module
 */
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { matmulRows } from "../../lib/ops/matmul_rows.ts";
import { quantizeRows } from "../../lib/ops/quantize_rows.ts";
import { rmsNorm } from "../../lib/ops/rms_norm.ts";
import { swiglu } from "../../lib/ops/swiglu.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { assertSameBytes } from "../helpers/compare.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";

/** Some layers' feed-forward parts; their products have more tiles than blocks, or fewer. */
const HIDDEN = 1_024, INNER = 5_632, LAYERS = 6;
const RUNS = 20;

function gpuTest(
  name: string,
  fn: (device: Device, owned: DisposableStack) => Promise<void>,
): void {
  Deno.test({
    name,
    ignore: !HAS_GPU,
    fn: async () => {
      using device = await openCudaDevice();
      using owned = new DisposableStack();
      await fn(device, owned);
      owned.dispose();
      assertEquals(device.liveAllocations, 0);
    },
  });
}

type Floats = "f32" | "bf16";

/** A tensor of random numbers. */
async function floats(
  device: Device,
  owned: DisposableStack,
  options: { dtype: Floats; shape: readonly number[]; random: Random; size?: number },
): Promise<Tensor> {
  const { dtype, shape, random, size = 1 } = options;
  const tensor = owned.use(Tensor.allocate(device, { dtype, shape, label: "of the test" }));
  await tensor.writeFrom(random.floats(tensor.size, size));
  return tensor;
}

for (const rows of [1, 5, 16, 20, 40]) {
  gpuTest(
    `${rows} rows through ${LAYERS} layers on a GPU have the same bits, waited for or not`,
    async (device, owned) => {
      const random = new Random(rows);
      const make = (dtype: Floats, shape: readonly number[], size?: number): Promise<Tensor> =>
        floats(device, owned, { dtype, shape, random, ...size === undefined ? {} : { size } });
      const start = random.floats(rows * HIDDEN, 1);
      const residual = await make("f32", [rows, HIDDEN]);
      const normed = await make("bf16", [rows, HIDDEN]);
      const gateUp = await make("bf16", [rows, 2 * INNER]);
      const activated = await make("bf16", [rows, INNER]);
      const norm = await make("bf16", [HIDDEN]);
      const layers: { gateUp: Tensor; down: Fp8Matrix }[] = [];
      for (let i = 0; i < LAYERS; i++) {
        const wide = await make("f32", [HIDDEN, INNER], 0.02);
        const down = Fp8Matrix.allocate(device, { shape: [HIDDEN, INNER], label: "down" }, owned);
        await quantizeRows(device, { out: down, in: wide });
        layers.push({ gateUp: await make("bf16", [2 * INNER, HIDDEN], 0.02), down });
      }
      const run = async (wait: () => Promise<void>): Promise<void> => {
        for (const weights of layers) {
          await rmsNorm(device, { out: normed, residual, weight: norm, eps: 1e-5 });
          await wait();
          await matmulRows(device, { out: gateUp, x: normed, weight: weights.gateUp });
          await wait();
          await swiglu(device, { out: activated, gateUp });
          await wait();
          const { down: weight } = weights;
          await matmulRows(device, { out: residual, x: activated, weight, accumulate: true });
          await wait();
        }
      };
      const result = async (run: () => Promise<void>): Promise<Uint8Array<ArrayBuffer>> => {
        await residual.writeFrom(start);
        await run();
        return await residual.toBytes();
      };
      const expected = await result(() => run(() => device.kernels.idle()));
      const shape = [rows, HIDDEN];
      const { recorder } = device;
      assert(recorder !== undefined, "a GPU must be able to record ops");
      using recorded = await recorder.record(() => run(() => Promise.resolve()));
      for (let i = 0; i < RUNS; i++) {
        const eager = await result(() => run(() => Promise.resolve()));
        assertSameBytes(eager, { expected, subject: { name: `run ${i}`, shape } });
        const replayed = await result(() => recorded.run());
        assertSameBytes(replayed, { expected, subject: { name: `recorded run ${i}`, shape } });
      }
    },
  );
}

gpuTest("a product on a GPU has the weights that the op before it wrote", async (device, owned) => {
  const random = new Random(5);
  const make = (dtype: Floats, shape: readonly number[]): Promise<Tensor> =>
    floats(device, owned, { dtype, shape, random });
  const [x, out] = [await make("bf16", [1, 4_096]), await make("f32", [1, 4_096])];
  const residual = await make("f32", [1, 4_096]);
  const norm = await make("bf16", [4_096]);
  const shape = [4_096, 4_096] as const;
  const weight = Fp8Matrix.allocate(device, { shape, label: "weight" }, owned);
  const sources = [await make("bf16", shape), await make("bf16", shape)];
  const run = async (
    source: Tensor,
    wait: () => Promise<void>,
  ): Promise<Uint8Array<ArrayBuffer>> => {
    // Of the ops that the next one may overlap; quantizeRows() is none of them.
    await rmsNorm(device, { out: x, residual, weight: norm, eps: 1e-5 });
    await quantizeRows(device, { out: weight, in: source });
    await wait();
    await matmulRows(device, { out, x, weight });
    return await out.toBytes();
  };
  for (let i = 0; i < RUNS; i++) {
    for (const source of sources) {
      const found = await run(source, () => Promise.resolve());
      const expected = await run(source, () => device.kernels.idle());
      assertSameBytes(found, { expected, subject: { name: `run ${i}`, shape: [4_096] } });
    }
  }
});
