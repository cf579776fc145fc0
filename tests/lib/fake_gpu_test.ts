/**
 * The whole CUDA path on a fake GPU that is built here: its streams do nothing until somebody waits,
 * so that a missing wait gives wrong numbers. Ignored without a C compiler.
 *
 * @module
 */
import { BATCH_RANGE } from "../../lib/engine/batch_size.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import { chooseDevice } from "../../lib/device/open.ts";
import { ProfiledDevice } from "../../lib/device/profiled.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { DeviceError, UsageError } from "../../lib/errors.ts";
import { embedding } from "../../lib/ops/embedding.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { goldenEntries, type GoldenEntry, goldenPlan } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";
import {
  checkFailedSequence,
  checkStaleKeys,
  STALE_MODES,
  staleName,
} from "../helpers/stale_keys.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

/** As `withFakeGpu()`, with this file's libraries. */
function withGpu(
  run: () => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  return withFakeGpu(folder, run, settings);
}

async function generate(
  entry: GoldenEntry,
  options: {
    name: string;
    device: "cpu" | "cuda";
    processCount: number;
    stopIds?: readonly number[];
  },
): Promise<GenerateResult> {
  const { name, device, processCount, stopIds = [] } = options;
  const plan = goldenPlan(name, entry);
  assert(plan !== undefined);
  await using engine = await openEngine({
    modelFolder: MODEL,
    plan: checkPlan(plan),
    device,
    precision: PRECISIONS.bf16,
    threads: 2,
    processCount,
    timeoutMs: 60_000,
  });
  return await engine.generate({
    sample: entry.task,
    contextIds: Int32Array.from(entry.context_ids),
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate: 24,
    stopIds,
    topLogits: 24,
  });
}

const [entry] = await goldenEntries();
assert(entry !== undefined);

for (const [name, golden] of Object.entries(entry.modes)) {
  if (goldenPlan(name, entry) === undefined) continue;
  for (const processCount of name.startsWith("star") ? [1, 2] : [1]) {
    const test = `a GPU gives what the CPU does: ${name}, ${processCount} processes`;
    Deno.test({ name: test, ignore }, async () => {
      await withGpu(async () => {
        const found = await generate(entry, { name, device: "cuda", processCount });
        const expected = await generate(entry, { name, device: "cpu", processCount });
        assertEquals(found.ids, expected.ids);
        // Queries are rounded to bf16 there, and f32 here.
        const logits = new Map(expected.topLogits);
        for (const [id, logit] of found.topLogits.slice(0, 10)) {
          const other = logits.get(id);
          assert(other !== undefined && Math.abs(other - logit) < 0.25, `${logit} ${other}`);
        }
        if (name === "dense" || name === "star") assertEquals(found.ids, [...golden.greedy_ids]);
      });
    });
  }
}

Deno.test({ name: "a GPU ends at a stop id, and can be asked again", ignore }, async () => {
  await withGpu(async () => {
    const [, , third = -1] = entry.modes.dense?.greedy_ids ?? [];
    const plan = goldenPlan("dense", entry);
    assert(plan !== undefined);
    await using engine = await openEngine({
      modelFolder: MODEL,
      plan: checkPlan(plan),
      device: "cuda",
      precision: PRECISIONS.bf16,
      threads: 2,
      processCount: 1,
      timeoutMs: 60_000,
    });
    const request = {
      sample: entry.task,
      contextIds: Int32Array.from(entry.context_ids),
      queryIds: Int32Array.from(entry.query_ids),
      tokensToGenerate: 12,
      topLogits: 0,
    };
    const stopped = await engine.generate({ ...request, stopIds: [third] });
    const whole = await engine.generate({ ...request, stopIds: [] });
    assertEquals(whole.ids, entry.modes.dense?.greedy_ids.slice(0, 12));
    assertEquals(stopped.ids, whole.ids.slice(0, whole.ids.indexOf(third) + 1));
    const one = await engine.generate({ ...request, tokensToGenerate: 1, stopIds: [] });
    assertEquals(one.ids, whole.ids.slice(0, 1));
  });
});

Deno.test({ name: "loadModel() refuses what will not fit, with the numbers", ignore }, async () => {
  const settings = { FAKE_GPU_BYTES: String(420 * 2 ** 20) };
  await withGpu(async () => {
    const plan = goldenPlan("star", entry);
    assert(plan !== undefined);
    const options = {
      ...plan,
      device: "cuda",
      precision: PRECISIONS.bf16,
      processCount: 1,
      threads: 1,
      timeoutMs: 60_000,
      expectedTokens: 1_000_000,
    } as const;
    const error = await assertRejects(() => loadModel(MODEL, options), DeviceError);
    assertStringIncludes(error.message, "Cannot run 1000001 tokens on cuda:0 Fake GPU (sm_90)");
    assertStringIncludes(error.message, " tokens fit");
  }, settings);
});

Deno.test({ name: "chooseDevice() takes a usable GPU and says so", ignore }, async () => {
  await withGpu(async () => {
    const { kind, note } = await chooseDevice("auto", { dtype: "bf16" });
    assertEquals(kind, "cuda");
    assertStringIncludes(note ?? "", "Fake GPU");
    assertEquals((await chooseDevice("auto", { dtype: "f32" })).kind, "cpu");
    assertEquals(await chooseDevice("cpu", { dtype: "bf16" }), { kind: "cpu" });
    await assertRejects(() => chooseDevice("cuda", { dtype: "f32" }), UsageError, "'precision'");
  });
});

Deno.test(
  { name: "a GPU that the kernel library has no code for is refused", ignore },
  async () => {
    await withGpu(async () => {
      assertEquals((await chooseDevice("auto", { dtype: "bf16" })).kind, "cpu");
      await assertRejects(
        () => openCudaDevice(),
        DeviceError,
        "Cannot open Fake GPU as the kernel library must have code for it: " +
          "current value is compute capability 7.5",
      );
    }, { FAKE_GPU_CAPABILITY: "75" });
  },
);

Deno.test({ name: "chooseDevice() takes the CPU where there is no GPU", ignore }, async () => {
  await withGpu(async () => {
    assertEquals((await chooseDevice("auto", { dtype: "bf16" })).kind, "cpu");
    await assertRejects(() => openCudaDevice(), DeviceError, "cudaErrorNoDevice");
  }, { FAKE_GPUS: "0" });
});

Deno.test({ name: "openCudaDevice() throws if there is no such GPU", ignore }, async () => {
  await withGpu(async () => {
    await assertRejects(
      () => openCudaDevice({ ordinal: 2 }),
      DeviceError,
      "Cannot open GPU 2 as its number must be below 2",
    );
    using second = await openCudaDevice({ ordinal: 1 });
    assertStringIncludes(second.description, "cuda:1");
  }, { FAKE_GPUS: "2" });
});

Deno.test({ name: "a GPU multiplies, copies and counts", ignore }, async () => {
  await withGpu(async () => {
    using device = new ProfiledDevice(await openCudaDevice());
    const make = (dtype: "f32" | "bf16", shape: readonly number[]) =>
      Tensor.allocate(device, { dtype, shape, label: "test" });
    // Above and below the rows from which cuBLAS multiplies; rows of the result lie apart.
    for (const rows of [3, 40]) {
      using x = make("bf16", [rows, 32]);
      using weight = make("bf16", [16, 32]);
      using out = make("f32", [rows, 48]);
      const value = (i: number) => i % 7 - 3;
      await x.writeFrom(Float32Array.from({ length: x.size }, (_, i) => value(i)));
      await weight.writeFrom(Float32Array.from({ length: weight.size }, (_, i) => value(i * 5)));
      device.count({ marks: true });
      await matmul(device, { out: out.columns(16, 16), x, weight });
      await matmul(device, { out: out.columns(16, 16), x, weight, accumulate: true });
      const cost = (await device.costs()).get("sx_matmul");
      assertEquals(cost?.calls, 2);
      assert((cost?.ms ?? 0) > 0 && cost?.flops === 4 * rows * 16 * 32);
      const found = await out.toFloats();
      const expected = Float32Array.from({ length: rows * 48 }, (_, at) => {
        const [row, column] = [Math.floor(at / 48), at % 48 - 16];
        if (column < 0 || column >= 16) return 0;
        let sum = 0;
        for (let k = 0; k < 32; k++) sum += value(row * 32 + k) * value((column * 32 + k) * 5);
        return 2 * sum;
      });
      assertEquals(found, expected);
    }
    assertEquals(device.liveAllocations, 0);
  });
});

Deno.test(
  { name: "copies to a GPU are right when they are longer than a slot", ignore },
  async () => {
    await withGpu(async () => {
      using device = await openCudaDevice();
      // More than all slots together, so that each is filled twice.
      using tensor = Tensor.allocate(device, { dtype: "i32", shape: [11 << 20], label: "long" });
      const values = Int32Array.from({ length: tensor.size }, (_, i) => Math.imul(i, 2654435761));
      await tensor.writeFrom(values);
      const found = await tensor.toInts();
      assert(found.every((value, i) => value === values[i]));
    });
  },
);

Deno.test({ name: "a GPU that fails says so, and is given back", ignore }, async () => {
  await withGpu(async () => {
    const failing = async () => {
      using device = await openCudaDevice();
      const make = (dtype: "f32" | "bf16" | "i32", shape: readonly number[]) =>
        Tensor.allocate(device, { dtype, shape, label: "test" });
      using table = make("bf16", [4, 8]);
      using ids = make("i32", [1]);
      using out = make("f32", [1, 8]);
      // The fake reports what a real one cannot: an id that is not in the table.
      await ids.writeFrom(Int32Array.of(9));
      await embedding(device, { out, table, ids });
      await out.toFloats();
    };
    await assertRejects(failing, DeviceError, "cudaErrorLaunchFailure");
    using device = await openCudaDevice();
    await device.kernels.idle();
  });
});

Deno.test(
  { name: "ranks with a GPU each ask for NCCL; GPUs are dealt to children", ignore },
  async () => {
    await withGpu(async () => {
      await assertRejects(
        () => generate(entry, { name: "star", device: "cuda", processCount: 2 }),
        DeviceError,
        `${folder}/libnccl.so.2`,
      );
    }, { FAKE_GPUS: "2" });
  },
);

Deno.test(
  { name: "another GPU than the first one is waited for on its own thread", ignore },
  async () => {
    await withGpu(async () => {
      using device = await openCudaDevice({ ordinal: 1 });
      using tensor = Tensor.allocate(device, { dtype: "i32", shape: [3 << 20], label: "long" });
      const values = Int32Array.from({ length: tensor.size }, (_, i) => i);
      await tensor.writeFrom(values);
      const found = await tensor.toInts();
      assert(found.every((value, i) => value === i));
    }, { FAKE_GPUS: "2" });
  },
);

Deno.test({ name: "the tokens of the widest batch are fetched in one copy", ignore }, async () => {
  await withGpu(async () => {
    using device = await openCudaDevice();
    const ids = Int32Array.from({ length: BATCH_RANGE.max }, (_, i) => i);
    using tokens = Tensor.allocate(device, { dtype: "i32", shape: [ids.length], label: "tokens" });
    await tokens.writeFrom(ids);
    const bytes = await device.recorder?.fetch(tokens).read();
    assertEquals(bytes, new Uint8Array(ids.buffer));
  });
});

for (const options of STALE_MODES) {
  const name = `what free pages hold, or a failed sequence has left, changes nothing: ${
    staleName(options)
  }`;
  Deno.test({ name, ignore }, async () => {
    await withGpu(async () => {
      using device = await openCudaDevice();
      await checkStaleKeys(device, options);
      await checkFailedSequence(device, options);
    });
  });
}
