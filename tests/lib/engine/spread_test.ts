/**
 * The layers of a model spread over several GPUs, on fake ones: the same bits as on one GPU, memory
 * where it belongs, and errors that name the GPU. Ignored without a C compiler.
 *
 * @module
 */
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { connectDevices } from "../../../lib/engine/exchange.ts";
import type { Collective } from "../../../lib/parallel/collective.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import { exchangeOn, gatherTensors } from "../../../lib/parallel/device_exchange.ts";
import { StagedCollective } from "../../../lib/parallel/staged.ts";
import { openCudaDevice } from "../../../lib/device/cuda.ts";
import type { Device } from "../../../lib/device/device.ts";
import { sendTensor } from "../../../lib/device/send.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { Tensor } from "../../../lib/device/tensor.ts";
import { DeviceError, KernelError, UsageError, WorkerError } from "../../../lib/errors.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import { copy } from "../../../lib/ops/convert.ts";
import { embedding } from "../../../lib/ops/embedding.ts";
import { openEngine } from "../../../lib/engine/engine.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import type { GenerateResult } from "../../../lib/star/request.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../../helpers/assert.ts";
import { addFakeNccl, buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { selectModuleOf } from "../../../lib/attention/select_module.ts";
import { checkPlan } from "../../../lib/attention/plan.ts";
import { inFolder } from "../../helpers/folder.ts";
import { goldenEntries, goldenPlan } from "../../helpers/golden.ts";
import { runSample, type SampleResult } from "../../helpers/run_sample.ts";
import { MODEL } from "../../helpers/prompts.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

function gpuTest(name: string, gpus: number, run: () => Promise<void>): void {
  const settings = { FAKE_GPUS: String(gpus) };
  Deno.test({ name, ignore, fn: () => withFakeGpu(folder, run, settings) });
}

const [entry] = await goldenEntries();
assert(entry !== undefined);
const golden = entry;

const REQUEST = {
  sample: golden.task,
  contextIds: Int32Array.from(golden.context_ids),
  queryIds: Int32Array.from(golden.query_ids),
  tokensToGenerate: 12,
  stopIds: [],
  topLogits: 24,
} as const;

function rankOptions(name: string, gpusPerRank?: number) {
  const known = goldenPlan(name === "ring" ? "dense" : name, golden);
  assert(known !== undefined);
  const plan = checkPlan(name === "ring" ? { ...known, mode: "ring" } : known);
  const base = {
    modelFolder: MODEL,
    device: "cuda",
    precision: PRECISIONS.bf16,
    threads: 1,
  } as const;
  return { ...base, plan, gpusPerRank };
}

async function generate(name: string, gpusPerRank?: number): Promise<GenerateResult> {
  const options = rankOptions(name, gpusPerRank);
  await using engine = await openEngine({ ...options, processCount: 1, timeoutMs: 60_000 });
  assertEquals(engine.deviceDescription.split(" and ").length, gpusPerRank ?? 1);
  const result = await engine.generate(REQUEST);
  // A second sample finds everything as the first one did.
  assertEquals((await engine.generate(REQUEST)).ids, result.ids);
  return result;
}

for (const name of ["dense", "xattn_S16_t0.9", "star", "starx_p1_S16_t0.9"]) {
  gpuTest(`layers on 1, 2 and 3 GPUs give the same bits: ${name}`, 3, async () => {
    const expected = await generate(name, 1);
    for (const count of [2, 3]) {
      const found = await generate(name, count);
      assertEquals(found.ids, expected.ids);
      assertEquals(found.topLogits, expected.topLogits);
      assertEquals(found.selectedTiles, expected.selectedTiles);
    }
    if (name === "dense" || name === "star") {
      assertEquals(expected.ids, golden.modes[name]?.greedy_ids.slice(0, 12));
    }
  });
}

gpuTest(
  "a selection of one's own is asked on every GPU, and changes its tiles alone",
  2,
  async () => {
    const code = `
    export const layers = [];
    export const select = (_mass, { layer, tiles }) => {
      layers.push(layer);
      return tiles;
    };\n`;
    await inFolder({ "same.js": code }, async (folder) => {
      const url = new URL(`file://${folder}/same.js`);
      const options = rankOptions("starx_p1_S16_t0.9", 2);
      const select = selectModuleOf({ action: "test", name: "url" }, url);
      await using engine = await openEngine({
        ...{ ...options, select, processCount: 1, timeoutMs: 60_000 },
      });
      const found = await engine.generate(REQUEST);
      const expected = await generate("starx_p1_S16_t0.9", 1);
      assertEquals([found.ids, found.topLogits], [expected.ids, expected.topLogits]);
      assertEquals(found.selectedTiles, expected.selectedTiles);
      const { layers } = await import(url.href);
      const all = Array.from({ length: engine.config.layerCount - 1 }, (_, layer) => layer);
      assertEquals([...new Set(layers)].sort(), all);
    });
  },
);

/** Runs ranks in this process, each with its GPUs; they exchange by way of the host. */
async function runRanks(name: string, ranks: number): Promise<SampleResult[]> {
  const slotBytes = 1 << 16;
  using group = new ShmGroup({ size: ranks, slotBytes });
  return await Promise.all(Array.from({ length: ranks }, async (_, rank) => {
    const options = { rank, size: ranks, slotBytes, timeoutMs: 60_000 };
    using host = new ShmCollective(group.path, options);
    using model = await RankModel.load(rankOptions(name, 2), { host });
    const first = rank * 2;
    assertMatch(model.deviceDescription, new RegExp(`^cuda:${first} .* and cuda:${first + 1} `));
    return await runSample(model, REQUEST, { collective: host });
  }));
}

for (const name of ["star", "starx_p1_S16_t0.9", "star_seedweights_S16", "ring"]) {
  gpuTest(`two ranks with two GPUs each give the tokens of one: ${name}`, 4, async () => {
    const results = await runRanks(name, 2);
    const ids = results.map((result) => result.ids);
    assertEquals(ids[1], ids[0]);
    const exact = name === "ring" ? "dense" : name;
    if (exact === "dense" || exact === "star") {
      assertEquals(ids[0], golden.modes[exact]?.greedy_ids.slice(0, 12));
    }
  });
}

for (
  const [name, processCount] of [
    ...[["star", 2], ["starx_p1_S16_t0.9", 2], ["ring", 2], ["star", 4]] as const,
  ]
) {
  const test = `${processCount} processes with two GPUs each exchange over NCCL: ${name}`;
  gpuTest(test, 2 * processCount, async () => {
    assert(folder !== undefined);
    const nccl = { STARX_CUDA: await addFakeNccl(folder) };
    await withFakeGpu(folder, async () => {
      const base = { processCount, timeoutMs: 60_000 };
      const run = async (gpusPerRank: number): Promise<GenerateResult> => {
        await using engine = await openEngine({ ...rankOptions(name, gpusPerRank), ...base });
        assertMatch(engine.deviceDescription, new RegExp(`${processCount} processes, NCCL`));
        assertEquals(engine.deviceDescription.split(" and ").length, gpusPerRank);
        return await engine.generate(REQUEST);
      };
      const [expected, found] = [await run(1), await run(2)];
      assertEquals([found.ids, found.topLogits], [expected.ids, expected.topLogits]);
      // The anchor is sent between the GPUs of the same layers.
      assertEquals([...new Set(found.ranks.map(({ anchorPasses }) => anchorPasses))], [0]);
    }, nccl);
  });
}

gpuTest("a rank takes more GPUs only where one is too small", 2, async () => {
  const describe = async (expectedTokens: number): Promise<string> => {
    const options = { ...rankOptions("dense"), processCount: 1, timeoutMs: 60_000, expectedTokens };
    await using engine = await openEngine(options);
    await engine.generate({ ...REQUEST, tokensToGenerate: 2 });
    return engine.deviceDescription;
  };
  const bytes = { FAKE_GPU_BYTES: String(520 * 2 ** 20) };
  await withFakeGpu(folder, async () => {
    assertMatch(await describe(1000), /^cuda:0 Fake GPU \(sm_90\)$/);
    assertMatch(
      await describe(60_000),
      /^cuda:0 Fake GPU \(sm_90\) and cuda:1 Fake GPU \(sm_90\)$/,
    );
    await assertRejects(() => describe(1_000_000), DeviceError, "of the memory of cuda:");
  }, bytes);
});

gpuTest("more GPUs than a rank has are refused", 2, async () => {
  await assertRejects(() => generate("dense", 3), UsageError, "'gpusPerRank' must be at most 2");
});

gpuTest("layers on two GPUs leave nothing behind", 2, async () => {
  const config = modelShape("small");
  const options = goldenPlan("starx_p1_S16_t0.9", golden);
  assert(config !== undefined && options !== undefined);
  const plan = checkPlan(options);
  using first = await openCudaDevice({ ordinal: 0 });
  using second = await openCudaDevice({ ordinal: 1 });
  const run = async (devices: readonly Device[]): Promise<SampleResult> => {
    const stages = stagesOn(devices, config);
    using weights = await randomWeights(stages, config);
    const parts = {
      config,
      stages,
      weights,
      plan,
      precision: PRECISIONS.bf16,
      chunkTokens: 512,
    } as const;
    using model = await RankModel.assemble({ ...parts, density: 0.5 });
    using collective = new SelfCollective();
    return await runSample(model, REQUEST, { collective });
  };
  const expected = await run([first]);
  const found = await run([first, second]);
  assertEquals(found.topLogits, expected.topLogits);
  assertEquals(found.selectedTiles, expected.selectedTiles);
  assertEquals([first.liveAllocations, second.liveAllocations], [0, 0]);
  assert(second.peakBytes > 0, "the second GPU must have been used");
});

function numbers(device: Device, label: string): Tensor {
  return Tensor.allocate(device, { dtype: "i32", shape: [1000], label });
}

for (const peers of ["1", "0"]) {
  gpuTest(`a copy between GPUs keeps the order of both, peer access ${peers}`, 2, async () => {
    await withFakeGpu(folder, async () => {
      using first = await openCudaDevice({ ordinal: 0 });
      using second = await openCudaDevice({ ordinal: 1 });
      using from = numbers(first, "from");
      using to = numbers(second, "to");
      using back = numbers(second, "back");
      using kept = numbers(second, "kept");
      for (const value of [1, 2, 3]) {
        await from.writeFrom(new Int32Array(1000).fill(value));
        sendTensor({ from, to });
        // Later ops on either side see neither too much nor too little.
        await from.writeFrom(new Int32Array(1000).fill(-1));
        await copy(second, { out: value === 2 ? kept : back, in: to });
      }
      assertEquals([...new Set(await kept.toInts())], [2]);
      assertEquals([...new Set(await back.toInts())], [3]);
      sendTensor({ from: kept, to: from });
      assertEquals([...new Set(await from.toInts())], [2]);
    }, { FAKE_GPU_PEERS: peers });
  });
}

gpuTest("what cannot be copied between GPUs is refused", 2, async () => {
  using first = await openCudaDevice({ ordinal: 0 });
  using second = await openCudaDevice({ ordinal: 1 });
  using from = numbers(first, "from");
  using to = numbers(second, "to");
  const sending = (to: Tensor) => () => Promise.resolve().then(() => sendTensor({ from, to }));
  await assertRejects(sending(to.rows(0, 9)), RangeError, "its shape must be [9]");
  using other = Tensor.allocate(second, { dtype: "f32", shape: [1000], label: "other" });
  await assertRejects(sending(other), TypeError, "current value is cuda i32 and cuda f32");
  // An op may not be given the other GPU's memory.
  await assertRejects(() => copy(second, { out: to, in: from }), TypeError);
});

gpuTest("an error of the second GPU names it", 2, async () => {
  const failing = async () => {
    using device = await openCudaDevice({ ordinal: 1 });
    using table = Tensor.allocate(device, { dtype: "bf16", shape: [4, 8], label: "table" });
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "ids" });
    using out = Tensor.allocate(device, { dtype: "f32", shape: [1, 8], label: "out" });
    await ids.writeFrom(Int32Array.of(9));
    await embedding(device, { out, table, ids });
    await out.toFloats();
  };
  await assertRejects(failing, DeviceError, "Cannot use GPU 1 as cuda");
  using first = await openCudaDevice({ ordinal: 0 });
  await first.kernels.idle();
  const many = () => Promise.resolve().then(() => first.allocate(2 ** 40, "too much"));
  await assertRejects(many, KernelError, "'too much' on cuda:0");
});

gpuTest(
  "GPUs of the same layers are connected over NCCL, each with its own communicator",
  4,
  async () => {
    assert(folder !== undefined);
    const source = new URL("../../helpers/nccl_stub.c", import.meta.url).pathname;
    const args = ["-O1", "-shared", "-fPIC", "-o", `${folder}/libnccl.so.2`, source];
    assert((await new Deno.Command("gcc", { args }).output()).success);
    const slotBytes = 4096;
    using group = new ShmGroup({ size: 2, slotBytes });
    const results = await Promise.all([0, 1].map(async (rank) => {
      using devices = new DisposableStack();
      const open = async (ordinal: number) => devices.use(await openCudaDevice({ ordinal }));
      const own = [await open(2 * rank), await open(2 * rank + 1)];
      const host = new ShmCollective(group.path, { rank, size: 2, slotBytes, timeoutMs: 10_000 });
      using collective = await connectDevices(own, { host, hasOwnGpus: true, timeoutMs: 10_000 });
      const found: number[][] = [];
      for (const [stage, device] of own.entries()) {
        using part = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "part" });
        using out = Tensor.allocate(device, { dtype: "i32", shape: [2], label: "out" });
        await part.writeFrom(Int32Array.of(10 * stage + rank));
        // The stand-in copies at once, where NCCL does when the stream gets there.
        await device.kernels.idle();
        await gatherTensors(exchangeOn(collective, device), { part, out });
        await collective.barrier();
        found.push([...await out.toInts()]);
      }
      assert(
        exchangeOn(collective, own[0] ?? fail()) !== exchangeOn(collective, own[1] ?? fail()),
      );
      return found;
    }));
    assertEquals(results, [[[0, 1], [10, 11]], [[0, 1], [10, 11]]]);
  },
);

function fail(): never {
  throw new TypeError("a rank has two devices");
}

gpuTest("a rank that is lost ends what hangs on each of the others' GPUs", 2, async () => {
  using first = await openCudaDevice({ ordinal: 0 });
  using second = await openCudaDevice({ ordinal: 1 });
  const ended: string[] = [];
  const member = (name: string, fails: boolean): Collective => {
    const lost = () =>
      fails
        ? Promise.reject(new WorkerError("Lost rank 1", { rank: 1, phase: "phase 2" }))
        : Promise.resolve();
    return {
      ...{ rank: 0, size: 2, allGather: lost, broadcast: lost, barrier: lost },
      abort: (reason) => void ended.push(`${name}: ${reason}`),
      close: () => void ended.push(`${name} closed`),
      [Symbol.dispose]: () => {},
    };
  };
  const members = new Map<Device, Collective>([
    [first, member("first", false)],
    [second, member("second", false)],
  ]);
  const collective = new StagedCollective(member("host", true), members);
  await assertRejects(() => collective.barrier(), WorkerError, "Lost rank 1");
  assertEquals(ended.splice(0), ["first: Lost rank 1", "second: Lost rank 1", "host: Lost rank 1"]);
  collective.close();
  assertEquals(ended, ["first closed", "second closed", "host closed"]);
});
