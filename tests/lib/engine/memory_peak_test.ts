/**
 * The plan of memory against what a device has allocated at most: every mode, contexts of several
 * lengths, batches of 1 and 3, on the CPU and on a fake GPU.
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
import type { ModelShape } from "../../../lib/model/model_shape.ts";
import { parseConfig } from "../../../lib/model/config.ts";
import { type ConfigValues, modelShape } from "../../../lib/model/shapes.ts";
import type { Collective } from "../../../lib/parallel/collective.ts";
import { TileRecords } from "../../../lib/attention/tile_records.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import type { Answer } from "../../../lib/star/decoder.ts";
import { assert, assertEquals, assertLess } from "../../helpers/assert.ts";
import { familiesFolder, familyCases } from "../../helpers/families.ts";
import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { sendingCollective } from "../../helpers/kept_tokens.ts";
import { MemoryMeter } from "../../helpers/memory_meter.ts";
import { UNUSUAL_MODELS } from "../../helpers/unusual_models.ts";

const folder = await buildFakeGpu();
const small = modelShape("small");
assert(small !== undefined);

const CHUNK_TOKENS = 256;
/**
 * Of blocks of 512: three, the last one partly; four whole ones, where the anchor is sent between
 * GPUs; five, the last one of a token.
 */
const CONTEXTS = [1_500, 2_048, 2_049] as const;
const QUERY_TOKENS = 40;
const ANSWER_TOKENS = 6;
/** Small things, which the plan's reserve is for: counts, tokens, log-sum-exps. */
const SMALL_BYTES = 16 * 2 ** 10;

const BLOCKS = { blockTokens: 512, anchorTokens: 384 } as const;
const MODES: readonly (readonly [PlanOptions, number])[] = [
  [{ mode: "dense" }, 1],
  [{ mode: "xattn" }, 1],
  [{ mode: "star", ...BLOCKS }, 1],
  [{ mode: "star", ...BLOCKS }, 2],
  [{ mode: "star", ...BLOCKS, merge: "antidiagonal" }, 2],
  // An anchor of one chunk: nothing runs beside it.
  [{ mode: "starx", ...BLOCKS, anchorTokens: CHUNK_TOKENS }, 2],
  [{ mode: "ring" }, 1],
  [{ mode: "ring" }, 2],
  [{ mode: "ringx" }, 2],
];

/** Runs a batch on one rank; what its device has allocated at most, once the weights are there. */
async function peakOf(
  device: Device,
  run: {
    config: ModelShape;
    options: PlanOptions;
    contextTokens: number;
    queryTokens?: number;
    batchSize: number;
    collective: Collective;
    /** Whether tiles are measured. */
    withCurves?: boolean;
  },
): Promise<number> {
  const { config, options, batchSize, contextTokens, withCurves = false } = run;
  const { queryTokens = QUERY_TOKENS } = run;
  // Between GPUs the anchor is sent where that pays; here by way of the host.
  const isSent = run.collective.size > 1 && !device.hasHostMemory;
  const collective = isSent ? sendingCollective(run.collective) : run.collective;
  const meter = new MemoryMeter(device, { canRecord: !isSent });
  const stages = stagesOn([meter.device], config);
  using weights = await randomWeights(stages, config);
  meter.restart();
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan: checkPlan(options), precision: PRECISIONS.bf16 },
    ...{ chunkTokens: CHUNK_TOKENS, batchSize },
  });
  using owned = new DisposableStack();
  const answers: Answer[] = [];
  const call = { collective, onProgress: () => {}, onLayer: () => {}, onToken: () => {} };
  for (let i = 0; i < batchSize; i++) {
    const ids = Int32Array.from(
      { length: contextTokens },
      (_, t) => (7 * t + i) % config.vocabularySize,
    );
    const others = batchSize - 1 - i;
    const records = TileRecords.of({ withCurves }, { config, plan: model.plan });
    const sizes = { room: queryTokens + ANSWER_TOKENS, queryTokens, others };
    const encoded = owned.use(await model.encode(ids, { ...call, ...sizes, records }));
    const request = {
      ...{ sample: "peak", queryIds: ids.subarray(0, queryTokens), stopIds: [], topLogits: 4 },
      tokensToGenerate: ANSWER_TOKENS,
    };
    answers.push(await model.begin(encoded, { ...call, request }));
  }
  await model.decode(answers, { ...call, maxSteps: Infinity });
  assertEquals(answers.map(({ ids }) => ids.length), answers.map(() => ANSWER_TOKENS));
  return meter.peakBytes;
}

/** What is planned for, and in which batches. */
interface PlannedRun {
  readonly config: ModelShape;
  readonly options: PlanOptions;
  readonly ranks: number;
  readonly contextTokens: number;
  /** @default {QUERY_TOKENS} */
  readonly queryTokens?: number;
  readonly batchSizes: readonly number[];
}

async function checkRun(
  { config, options, ranks, contextTokens, queryTokens = QUERY_TOKENS, batchSizes }: PlannedRun,
  open: (rank: number) => Promise<Device>,
): Promise<void> {
  const sizes = { contextTokens, queryTokens };
  for (const batchSize of batchSizes) {
    const peaks: number[] = [];
    let plannedBytes = 0;
    const run = async (rank: number, collective: Collective): Promise<void> => {
      using device = await open(rank);
      peaks[rank] = await peakOf(device, { config, options, ...sizes, batchSize, collective });
      const [need] = memoryNeeds(device, {
        ...{ config, precision: PRECISIONS.bf16, plan: checkPlan(options), ranks, batchSize },
        ...{ ...sizes, chunkTokens: CHUNK_TOKENS, room: queryTokens + ANSWER_TOKENS },
      });
      assert(need !== undefined);
      const planned = need.weights + need.cache + need.working - RESERVE_BYTES;
      const peak = peaks[rank] ?? 0;
      const text =
        `${peak} bytes of ${planned} planned for ${contextTokens} tokens, rank ${rank}, ` +
        `batch ${batchSize}`;
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
    const text = `${plannedBytes} planned for a peak of ${most}, ${contextTokens} tokens`;
    assertLess(plannedBytes, 1.1 * most, text);
  }
}

/** A window of 300 in one of two layers. */
const windowed: ModelShape = {
  ...small,
  layers: small.layers.map((layer, i) => i === 0 ? { ...layer, window: 300 } : layer),
};

for (
  const [config, options, ranks] of [small, windowed].flatMap((config) =>
    MODES.map(([options, ranks]) => [config, options, ranks] as const)
  )
) {
  const check = async (open: (rank: number) => Promise<Device>): Promise<void> => {
    for (const contextTokens of CONTEXTS) {
      await checkRun({ config, options, ranks, contextTokens, batchSizes: [1, 3] }, open);
    }
  };
  const name = [
    ...[options.mode, options.merge ?? "", `${ranks} ranks`],
    config === windowed ? "a window in one layer" : "",
  ].filter(Boolean).join(", ");
  Deno.test(`the plan of memory holds on the CPU: ${name}`, async () => {
    await check(() => openCpuDevice({ threads: 1 }));
  });
  Deno.test({
    name: `the plan of memory holds on a fake GPU: ${name}`,
    ignore: folder === undefined,
    fn: () =>
      withFakeGpu(folder, () => check((ordinal) => openCudaDevice({ ordinal })), {
        FAKE_GPUS: "2",
      }),
  });
}

Deno.test({
  name: "the plan of memory has a query that is longer than a chunk",
  ignore: folder === undefined,
  fn: () =>
    withFakeGpu(folder, async () => {
      for (const merge of ["antidiagonal", "lse"] as const) {
        const options = { mode: "star", ...BLOCKS, merge } as const;
        const run = { config: small, options, ranks: 2, contextTokens: 1_500, batchSizes: [1, 2] };
        const open = (ordinal: number) => openCudaDevice({ ordinal });
        await checkRun({ ...run, queryTokens: 2 * CHUNK_TOKENS }, open);
      }
    }, { FAKE_GPUS: "2" }),
});

/** What measuring tiles adds to the peak of a device, and to the plan. */
async function checkCurves(options: PlanOptions, open: () => Promise<Device>): Promise<void> {
  using collective = new SelfCollective();
  const config = small;
  assert(config !== undefined);
  const run = async (withCurves: boolean) => {
    using device = await open();
    const sizes = { contextTokens: 1_500, batchSize: 1 };
    const peak = await peakOf(device, { config, options, ...sizes, collective, withCurves });
    const [need] = memoryNeeds(device, {
      ...{ config, precision: PRECISIONS.bf16, plan: checkPlan(options), ranks: 1, withCurves },
      ...{ ...sizes, chunkTokens: CHUNK_TOKENS, room: QUERY_TOKENS + ANSWER_TOKENS },
    });
    return [peak, need?.working ?? 0] as const;
  };
  const [before, after] = [await run(false), await run(true)];
  const [added, planned] = [after[0] - before[0], after[1] - before[1]];
  assert(added > 0 && added <= planned, `${added} bytes of ${planned} planned for measuring`);
  assertLess(planned, 1.1 * added, "the plan is no larger than need be");
}

for (const options of [{ mode: "xattn" }, { mode: "starx", ...BLOCKS }] as const) {
  const name = `${options.mode} with curves`;
  Deno.test(`the plan of memory has what measuring takes on the CPU: ${name}`, async () => {
    await checkCurves(options, () => openCpuDevice({ threads: 1 }));
  });
  Deno.test({
    name: `the plan of memory has what measuring takes on a fake GPU: ${name}`,
    ignore: folder === undefined,
    fn: () => withFakeGpu(folder, () => checkCurves(options, () => openCudaDevice({ ordinal: 0 }))),
  });
}

/** The configurations of the references, by their names. */
function referenceConfigs(): Record<string, ConfigValues> {
  return Object.fromEntries([...familyCases().keys()].map((name) => {
    const text = Deno.readTextFileSync(`${familiesFolder()}/${name}/config.json`);
    return [name, JSON.parse(text)];
  }));
}

/** One that computes everything, one with anchors and selection, one that exchanges parts. */
const FAMILY_MODES: readonly (readonly [PlanOptions, number])[] = [
  [{ mode: "dense" }, 1],
  [{ mode: "starx", ...BLOCKS }, 2],
  [{ mode: "ringx" }, 2],
];
const FAMILIES = Object.entries({ ...UNUSUAL_MODELS, ...referenceConfigs() });

for (const [i, [name, values]] of FAMILIES.entries()) {
  // Every mode's turn comes; all of them for every family take minutes.
  const [options, ranks] = FAMILY_MODES[i % FAMILY_MODES.length] ?? [{ mode: "dense" }, 1];
  Deno.test(`the plan of memory holds on the CPU: ${options.mode}, ${name}`, async () => {
    const config = parseConfig(values, { path: "config.json" });
    const run = { config, options, ranks, contextTokens: 1_500, batchSizes: [2] };
    await checkRun(run, () => openCpuDevice({ threads: 1 }));
  });
}
