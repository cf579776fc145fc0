/**
 * Four and eight ranks in this process, each with fake GPUs of its own, over a fake NCCL: every mode
 * gives what one rank gives. Ignored without a C compiler.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { openCudaDevice } from "../../../lib/device/cuda.ts";
import type { Device } from "../../../lib/device/device.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { connectDevices } from "../../../lib/engine/exchange.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import { parseConfig } from "../../../lib/model/config.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { MODEL_CONFIGS } from "../../../lib/model/shapes.ts";
import type { Collective } from "../../../lib/parallel/collective.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import { benchIds } from "../../../commands/bench/mode_bench.ts";
import { assertEquals } from "../../helpers/assert.ts";
import { addFakeNccl, buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { runSample, type SampleResult } from "../../helpers/run_sample.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;
const libraries = folder === undefined ? "" : await addFakeNccl(folder);

/** As many layers as GPUs that they are spread over. */
const CONFIG = parseConfig({ ...MODEL_CONFIGS.small, num_hidden_layers: 8 }, { path: "small" });
const CHUNK_TOKENS = 128;
const TIMEOUT_MS = 600_000;
const GPUS = 8;

function request(contextTokens: number) {
  const ids = benchIds(contextTokens + 3, CONFIG.vocabularySize);
  return {
    sample: "many",
    contextIds: ids.subarray(0, contextTokens),
    queryIds: ids.subarray(contextTokens),
    tokensToGenerate: 6,
    stopIds: [],
    topLogits: 24,
  };
}

interface Run {
  readonly plan: PlanOptions;
  readonly ranks: number;
  readonly contextTokens: number;
  /** Of each rank. @default {1} */
  readonly gpus?: number;
}

/** What a rank found, and how often it encoded the anchor on its own. */
interface Found extends SampleResult {
  readonly peakBytes: number;
}

async function runRank(rank: number, options: Run & { host?: ShmCollective }): Promise<Found> {
  const { plan, contextTokens, gpus = 1, host } = options;
  using owned = new DisposableStack();
  const devices: Device[] = [];
  for (let gpu = 0; gpu < gpus; gpu++) {
    devices.push(owned.use(await openCudaDevice({ ordinal: rank * gpus + gpu })));
  }
  const stages = stagesOn(devices, CONFIG);
  const weights = owned.use(await randomWeights(stages, CONFIG));
  const place = host && { host, hasOwnGpus: true, timeoutMs: TIMEOUT_MS };
  const collective: Collective = owned.use(
    place === undefined ? new SelfCollective() : await connectDevices(devices, place),
  );
  if (host !== undefined) assertEquals(collective.carrier, "NCCL 2.29.5");
  const model = owned.use(
    await RankModel.assemble({
      ...{ config: CONFIG, stages, weights, plan: checkPlan(plan), chunkTokens: CHUNK_TOKENS },
      ...{ precision: PRECISIONS.bf16, hasOwnGpus: true },
    }),
  );
  const result = await runSample(model, request(contextTokens), { collective });
  return { ...result, peakBytes: Math.max(...devices.map(({ peakBytes }) => peakBytes)) };
}

/** Runs ranks; all must have the same ids. */
async function run(options: Run): Promise<Found[]> {
  const { ranks, gpus = 1 } = options;
  let results: Found[] = [];
  await withFakeGpu(folder, async () => {
    if (ranks === 1) {
      results = [await runRank(0, options)];
      return;
    }
    const slotBytes = 1 << 16;
    using group = new ShmGroup({ size: ranks, slotBytes });
    results = await Promise.all(Array.from({ length: ranks }, (_, rank) => {
      const place = { rank, size: ranks, slotBytes, timeoutMs: TIMEOUT_MS };
      return runRank(rank, { ...options, host: new ShmCollective(group.path, place) });
    }));
  }, { STARX_CUDA: libraries, FAKE_GPUS: String(Math.max(GPUS, ranks * gpus)) });
  for (const { ids } of results) assertEquals(ids, results[0]?.ids);
  return results;
}

/** Logits of the rank that has the context's end. */
function logitsOf(results: readonly Found[]): SampleResult["topLogits"] {
  const found = results.filter(({ topLogits }) => topLogits.length > 0);
  assertEquals(found.length, 1);
  return found[0]?.topLogits ?? [];
}

const STAR = { mode: "star", blockTokens: 128 } as const;
const STARX = { mode: "starx", blockTokens: 256, stride: 16, threshold: 0.9 } as const;
const SELECTION = { stride: 16, threshold: 0.9 } as const;

for (
  const { name, contextTokens, plan, alone } of [
    { name: "star, a block each or two", contextTokens: 1000, plan: STAR, alone: STAR },
    { name: "starx, more ranks than blocks", contextTokens: 1500, plan: STARX, alone: STARX },
    { name: "star, blocks that do not divide", contextTokens: 1300, plan: STAR, alone: STAR },
    {
      name: "ring",
      contextTokens: 1500,
      plan: { mode: "ring" },
      alone: { mode: "dense" },
    },
    {
      name: "ringx, ranks without a tile",
      contextTokens: 700,
      plan: { mode: "ringx", ...SELECTION },
      alone: { mode: "xattn", ...SELECTION },
    },
  ] as const
) {
  Deno.test({
    name: `one, four and eight ranks give the same tokens: ${name}`,
    ignore,
    fn: async () => {
      const [expected] = await run({ plan: alone, ranks: 1, contextTokens });
      for (const ranks of [4, 8]) {
        const found = await run({ plan, ranks, contextTokens });
        assertEquals(found[0]?.ids, expected?.ids, `${ranks} ranks`);
        logitsOf(found);
      }
    },
  });
}

Deno.test({ name: "layers on one, four and eight GPUs give the same bits", ignore }, async () => {
  const plan = { mode: "dense" } as const;
  const expected = await run({ plan, ranks: 1, contextTokens: 700 });
  for (const gpus of [4, 8]) {
    const found = await run({ plan, ranks: 1, gpus, contextTokens: 700 });
    assertEquals(found[0]?.ids, expected[0]?.ids);
    assertEquals(logitsOf(found), logitsOf(expected));
  }
});
