/**
 * The exchange of device memory where NCCL is not: in place on a CPU, by way of the host on a GPU.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { copy } from "../../lib/ops/convert.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { exchangeOn, gatherTensors } from "../../lib/parallel/device_exchange.ts";
import { ShmCollective, ShmGroup } from "../../lib/parallel/shm.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";

const folder = await buildFakeGpu();

/** Two ranks with a device each gather and broadcast what ops have just written. */
async function exchange(open: (rank: number) => Promise<Device>): Promise<void> {
  const slotBytes = 4096;
  using group = new ShmGroup({ size: 2, slotBytes });
  await Promise.all([0, 1].map(async (rank) => {
    using device = await open(rank);
    using collective = new ShmCollective(group.path, {
      ...{ rank, size: 2, slotBytes, timeoutMs: 10_000 },
    });
    const exchange = exchangeOn(collective, device);
    assertEquals(exchange.canBeRecorded, false);
    assertEquals(exchange.size, 2);
    const make = (count: number) =>
      Tensor.allocate(device, { dtype: "i32", shape: [count], label: "numbers" });
    using own = make(3);
    using part = make(3);
    using out = make(6);
    await own.writeFrom(Int32Array.of(10 * rank, 10 * rank + 1, 10 * rank + 2));
    await copy(device, { out: part, in: own });
    await gatherTensors(exchange, { part, out });
    assertEquals(await out.toInts(), Int32Array.of(0, 1, 2, 10, 11, 12));
    await exchange.broadcastRegion(part, { root: 1 });
    assertEquals(await part.toInts(), Int32Array.of(10, 11, 12));
    await collective.barrier();
  }));
}

Deno.test("exchangeOn() exchanges a CPU's memory in place", async () => {
  await exchange(() => openCpuDevice({ threads: 1 }));
});

Deno.test({
  name: "exchangeOn() exchanges a GPU's memory by way of the host where there is no NCCL",
  ignore: folder === undefined,
  fn: async () => {
    const run = () => exchange((ordinal) => openCudaDevice({ ordinal }));
    await withFakeGpu(folder, run, { FAKE_GPUS: "2" });
  },
});

Deno.test({
  name: "attention on a GPU refuses keys of another dtype than the device takes",
  ignore: folder === undefined,
  fn: () =>
    withFakeGpu(folder, async () => {
      using device = await openCudaDevice();
      assertEquals([device.queryDtype, device.hasHostMemory], ["bf16", false]);
      assert(device.stream !== undefined, "a GPU has a stream");
      using owned = new DisposableStack();
      const make = (dtype: "bf16" | "f32" | "i32", shape: number[], label: string) =>
        owned.use(Tensor.allocate(device, { dtype, shape, label }));
      const [keys, values] = [make("f32", [1, 4, 64], "k"), make("f32", [1, 4, 64], "v")];
      const call = {
        out: make("f32", [1, 1, 64], "out"),
        q: make(device.queryDtype, [1, 1, 64], "q"),
        keys: { keys, values, start: 0, tokens: 4 },
        keyCount: make("i32", [1], "count"),
        causal: true,
        scale: 1,
      };
      await assertRejects(
        () => attentionDecode(device, call),
        TypeError,
        "Cannot run attentionDecode as 'keys' must be bf16 or i8 or f8e4m3: current value is [1, 4, 64] f32",
      );
    }),
});
