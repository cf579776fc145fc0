/**
 * The plan of memory against what a device has allocated at most: every mode, batches of 1 and 3, on
 * the CPU and on a fake GPU.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { openCudaDevice } from "../../../lib/device/cuda.ts";
import type { Device } from "../../../lib/device/device.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { memoryNeeds, RESERVE_BYTES } from "../../../lib/engine/memory_plan.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { randomWeights } from "../../../lib/model/random_weights.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import type { Collective } from "../../../lib/parallel/collective.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import type { Answer } from "../../../lib/star/decoder.ts";
import { assert, assertEquals, assertLess } from "../../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";

const folder = await buildFakeGpu();
const shape = modelShape("small");
assert(shape !== undefined);
const config = shape;

const CHUNK_TOKENS = 1024;
/** So many that a run takes more than making the weights does. */
const CONTEXT_TOKENS = 6_000;
const QUERY_TOKENS = 40;
const ANSWER_TOKENS = 6;
const ROOM = QUERY_TOKENS + ANSWER_TOKENS;
/** Small things, which the plan's reserve is for: counts, tokens, log-sum-exps. */
const SMALL_BYTES = 128 * 2 ** 10;

const BLOCKS = { blockTokens: 2048, anchorTokens: 1024 } as const;
const MODES: readonly (readonly [PlanOptions, number])[] = [
  [{ mode: "dense" }, 1],
  [{ mode: "xattn" }, 1],
  [{ mode: "star", ...BLOCKS }, 1],
  [{ mode: "star", ...BLOCKS }, 2],
  [{ mode: "star", ...BLOCKS, merge: "antidiagonal" }, 2],
  [{ mode: "starx", ...BLOCKS }, 2],
  [{ mode: "ring" }, 2],
  [{ mode: "ringx" }, 2],
];

/** Runs a batch on one rank; what its device has allocated at most. */
async function peakOf(
  device: Device,
  run: { options: PlanOptions; batchSize: number; collective: Collective },
): Promise<number> {
  const { options, batchSize, collective } = run;
  const stages = stagesOn([device], config);
  using weights = await randomWeights(stages, config);
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan: checkPlan(options), precision: PRECISIONS.bf16 },
    ...{ chunkTokens: CHUNK_TOKENS, batchSize },
  });
  using owned = new DisposableStack();
  const answers: Answer[] = [];
  const call = { collective, onProgress: () => {}, onLayer: () => {}, onToken: () => {} };
  for (let i = 0; i < batchSize; i++) {
    const ids = Int32Array.from({ length: CONTEXT_TOKENS }, (_, t) => (7 * t + i) % 4096);
    const others = batchSize - 1 - i;
    const encoded = owned.use(await model.encode(ids, { ...call, room: ROOM, others }));
    const request = {
      ...{ sample: "peak", queryIds: ids.subarray(0, QUERY_TOKENS), stopIds: [], topLogits: 4 },
      tokensToGenerate: ANSWER_TOKENS,
    };
    answers.push(await model.begin(encoded, { ...call, request }));
  }
  await model.decode(answers, { ...call, maxSteps: Infinity });
  assertEquals(answers.map(({ ids }) => ids.length), answers.map(() => ANSWER_TOKENS));
  return device.peakBytes;
}

async function checkMode(
  [options, ranks]: readonly [PlanOptions, number],
  open: (rank: number) => Promise<Device>,
): Promise<void> {
  for (const batchSize of [1, 3]) {
    const peaks: number[] = [];
    let plannedBytes = 0;
    const run = async (rank: number, collective: Collective): Promise<void> => {
      using device = await open(rank);
      peaks[rank] = await peakOf(device, { options, batchSize, collective });
      const [need] = memoryNeeds(device, {
        ...{ config, precision: PRECISIONS.bf16, plan: checkPlan(options), ranks, batchSize },
        ...{ chunkTokens: CHUNK_TOKENS, contextTokens: CONTEXT_TOKENS, room: ROOM },
      });
      assert(need !== undefined);
      const planned = need.weights + need.cache + need.working - RESERVE_BYTES;
      const peak = peaks[rank] ?? 0;
      const text = `${peak} bytes of ${planned} planned, rank ${rank}, batch ${batchSize}`;
      assert(peak <= planned + SMALL_BYTES, `the plan must be enough: found ${text}`);
      plannedBytes = planned;
    };
    const slotBytes = 1 << 20;
    using group = ranks === 1 ? undefined : new ShmGroup({ size: ranks, slotBytes });
    await Promise.all(Array.from({ length: ranks }, async (_, rank) => {
      const place = { rank, size: ranks, slotBytes, timeoutMs: 60_000 };
      using collective = group === undefined
        ? new SelfCollective()
        : new ShmCollective(group.path, place);
      await run(rank, collective);
    }));
    // It is of the rank that needs most.
    const most = Math.max(...peaks);
    assertLess(plannedBytes, 1.1 * most, `${plannedBytes} planned for a peak of ${most}`);
  }
}

for (const mode of MODES) {
  const [options, ranks] = mode;
  const name = [options.mode, options.merge ?? "", `${ranks} ranks`].filter(Boolean).join(", ");
  Deno.test(`the plan of memory holds on the CPU: ${name}`, async () => {
    await checkMode(mode, () => openCpuDevice({ threads: 1 }));
  });
  Deno.test({
    name: `the plan of memory holds on a fake GPU: ${name}`,
    ignore: folder === undefined,
    fn: () =>
      withFakeGpu(folder, () => checkMode(mode, (ordinal) => openCudaDevice({ ordinal })), {
        FAKE_GPUS: "2",
      }),
  });
}
