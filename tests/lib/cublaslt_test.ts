/**
 * Products of e4m3 by cuBLASLt, on a fake GPU that checks what it is asked for; on a real one they are
 * `tests/gpu/fp8_test.ts`.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import { DeviceError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { Random } from "../helpers/random.ts";
import { ScaledFactors } from "../helpers/scaled_products.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;
const SIZES = { m: 70, n: 48, k: 64 } as const;

Deno.test(
  { name: "products of e4m3 on a GPU are the CPU's, whatever the rows", ignore },
  async () => {
    await withFakeGpu(folder, async () => {
      using cpu = await openCpuDevice({ threads: 1 });
      using device = await openCudaDevice();
      const random = new Random(31);
      {
        using factors = await ScaledFactors.random(device, { sizes: SIZES, random, faults: [4] });
        using same = await factors.copyTo(cpu);
        for (
          const options of [
            {},
            { first: 3, count: 17 },
            { gap: 16 },
            { first: 20, count: 50, gap: 16, accumulate: true },
            { count: 0 },
          ]
        ) {
          const found = await factors.multiply(options);
          assertEquals(found, await same.multiply(options), JSON.stringify(options));
          assert(found.length === 0 || found.some((value) => value !== 1));
        }
        const rows = await factors.multiply();
        assertEquals(await factors.replay(), rows, "recorded");
        for (let i = 0; i < SIZES.m; i++) {
          const row = rows.subarray(i * SIZES.n, (i + 1) * SIZES.n);
          assertEquals(row.every(Number.isNaN), i === 4, `row ${i}`);
        }
      }
      assertEquals(device.liveAllocations, 0);
    });
  },
);

Deno.test({ name: "only Hopper rounds activations to e4m3", ignore }, async () => {
  for (const [capability, isRounded] of [["80", false], ["89", false], ["90", true]] as const) {
    await withFakeGpu(folder, async () => {
      using device = await openCudaDevice();
      assertEquals(device.fp8Rows !== undefined, isRounded, capability);
    }, { FAKE_GPU_CAPABILITY: capability });
  }
});

Deno.test({ name: "a cuBLASLt without scales of rows is refused", ignore }, async () => {
  await withFakeGpu(folder, async () => {
    using device = await openCudaDevice();
    using factors = await ScaledFactors.random(device, { sizes: SIZES, random: new Random(32) });
    await assertRejects(
      () => factors.multiply(),
      DeviceError,
      "its version must be at least 120900: current value is 120805",
    );
  }, { FAKE_CUBLASLT_VERSION: "120805" });
});

Deno.test(
  { name: "what cuBLASLt refuses is a device's error, with the shape", ignore },
  async () => {
    await withFakeGpu(folder, async () => {
      using device = await openCudaDevice();
      const sizes = { m: 20, n: 40, k: 64 };
      using factors = await ScaledFactors.random(device, { sizes, random: new Random(33) });
      await assertRejects(
        () => factors.multiply(),
        DeviceError,
        "cublasLtMatmulAlgoGetHeuristic with 40 x 64 returned CUBLAS_STATUS_NOT_SUPPORTED",
      );
    });
  },
);
