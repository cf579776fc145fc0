/**
 * The layers of a model spread over two GPUs: the ids and the logits' bits of one. Ignored with fewer
 * than two GPUs.
 *
 * @module
 */
import { PRECISIONS } from "../../lib/model/precision.ts";
import { type AttentionMode, checkPlan } from "../../lib/attention/plan.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { sendTensor } from "../../lib/device/send.ts";
import { stagesOn } from "../../lib/device/stages.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { GPU_COUNT } from "../helpers/device.ts";
import { goldenEntries, type GoldenEntry, goldenPlan } from "../helpers/golden.ts";
import { runSample, type SampleResult } from "../helpers/run_sample.ts";
import { MODEL } from "../helpers/prompts.ts";

function twoGpuTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: `layers on two GPUs give what they give on a GPU: ${name}`,
    ignore: GPU_COUNT < 2,
    fn,
  });
}

async function generate(
  entry: GoldenEntry,
  options: { name: string; gpusPerRank: number },
): Promise<GenerateResult> {
  const planOptions = goldenPlan(options.name, entry);
  assert(planOptions !== undefined);
  const plan = checkPlan(planOptions);
  const { gpusPerRank } = options;
  const base = {
    modelFolder: MODEL,
    device: "cuda",
    precision: PRECISIONS.bf16,
    threads: 1,
  } as const;
  const run = { ...base, plan, gpusPerRank, processCount: 1, timeoutMs: 60_000 };
  await using engine = await openEngine(run);
  assertEquals(engine.deviceDescription.split(" and ").length, gpusPerRank);
  return await engine.generate({
    sample: entry.task,
    contextIds: Int32Array.from(entry.context_ids),
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate: 24,
    stopIds: [],
    topLogits: 1000,
  });
}

for (const entry of await goldenEntries()) {
  for (const name of ["dense", "star", "xattn_S16_t0.9", "starx_p1_S16_t0.9"]) {
    if (goldenPlan(name, entry) === undefined) continue;
    twoGpuTest(`starx-tiny, ${name}, ${entry.task}`, async () => {
      const one = await generate(entry, { name, gpusPerRank: 1 });
      const two = await generate(entry, { name, gpusPerRank: 2 });
      assertEquals(two.ids, one.ids);
      assertEquals(two.topLogits, one.topLogits);
      assertEquals(two.selectedTiles, one.selectedTiles);
      if (name === "dense" || name === "star") assertEquals(two.ids, entry.modes[name]?.greedy_ids);
    });
  }
}

/** Chunks follow each other through both GPUs, and end within a block. */
const LARGE = { contextTokens: 20_000, blockTokens: 8192, chunkTokens: 4096 } as const;

async function runLarge(devices: readonly Device[], mode: AttentionMode): Promise<SampleResult> {
  const config = modelShape("llama-3.1-8b");
  assert(config !== undefined);
  const { contextTokens, blockTokens, chunkTokens } = LARGE;
  const plan = checkPlan({ mode, blockTokens, threshold: 0.9 });
  const stages = stagesOn(devices, config);
  using weights = await randomWeights(stages, config);
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan, chunkTokens },
    precision: PRECISIONS.bf16,
    density: 0.3,
  });
  using collective = new SelfCollective();
  const ids = Int32Array.from(
    { length: contextTokens + 300 },
    (_, i) => Math.imul(i, 7919) % 100_000,
  );
  const request = {
    sample: "8B",
    contextIds: ids.subarray(0, contextTokens),
    queryIds: ids.subarray(contextTokens),
    tokensToGenerate: 16,
    stopIds: [],
    topLogits: 1000,
  };
  return await runSample(model, request, { collective });
}

for (const mode of ["dense", "starx"] as const) {
  twoGpuTest(`the 8B shape, ${mode}`, async () => {
    using first = await openCudaDevice({ ordinal: 0 });
    const one = await runLarge([first], mode);
    using second = await openCudaDevice({ ordinal: 1 });
    const two = await runLarge([first, second], mode);
    assertEquals(two.ids, one.ids);
    assertEquals(two.topLogits, one.topLogits);
    assertEquals([first.liveAllocations, second.liveAllocations], [0, 0]);
  });
}

twoGpuTest("what was copied back and forth", async () => {
  using first = await openCudaDevice({ ordinal: 0 });
  using second = await openCudaDevice({ ordinal: 1 });
  const make = (device: Device) =>
    Tensor.allocate(device, { dtype: "i32", shape: [5 << 20], label: "test" });
  using from = make(first);
  using to = make(second);
  using back = make(first);
  for (let round = 0; round < 20; round++) {
    await from.writeFrom(new Int32Array(from.size).fill(round));
    sendTensor({ from, to });
    // The copy must have been made before the next write, and not before the one above.
    await from.writeFrom(new Int32Array(from.size).fill(-1));
    sendTensor({ from: to, to: back });
    const found = await back.toInts();
    assert(found.every((value) => value === round), `round ${round} must arrive whole`);
  }
});
