/**
 * Samples that are decoded together on ranks of this process, in any order and number.
 *
 * @module
 */
import { type CheckedPlan, checkPlan } from "../../lib/attention/plan.ts";
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import type { DeviceKind } from "../../lib/device/open.ts";
import { type CacheKind, PRECISIONS } from "../../lib/model/precision.ts";
import { NO_HOOKS } from "../../lib/engine/hooks.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import type { Collective } from "../../lib/parallel/collective.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../lib/parallel/shm.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import type { GenerateRequest } from "../../lib/star/request.ts";
import { gatherNumbers } from "../../lib/team/words.ts";
import { assert, assertEquals } from "./assert.ts";
import { goldenEntries, goldenPlan } from "./golden.ts";
import { MODEL } from "./prompts.ts";
import { Random } from "./random.ts";

/** What a sample came to. */
export interface BatchResult {
  readonly ids: readonly number[];
  readonly topLogits: readonly (readonly [number, number])[];
}

/** How to run samples. */
export interface BatchRun {
  readonly plan: CheckedPlan;
  readonly dtype: "f32" | "bf16";
  /** By default as `dtype` says. */
  readonly cache?: CacheKind;
  readonly device?: DeviceKind;
  readonly gpusPerRank?: number;
  readonly ranks?: number;
  /** Samples at once. */
  readonly width: number;
  /** The numbers of the samples, in the order in which they begin. */
  readonly order: readonly number[];
  /** Called on rank 0 when others have had a token between two chunks of a sample. */
  readonly onPause?: () => void;
}

/**
 * Samples of different lengths, of contexts, queries and answers.
 *
 * @param options `times` as long contexts.
 */
export async function batchSamples(
  count: number,
  options: { times?: number } = {},
): Promise<GenerateRequest[]> {
  const { times = 1 } = options;
  const entries = await goldenEntries();
  return Array.from({ length: count }, (_, i) => {
    const entry = entries[i % entries.length];
    assert(entry !== undefined);
    const ids = Array.from({ length: 2 * times }, () => entry.context_ids).flat();
    const from = 13 * i % 97;
    return {
      sample: String(i),
      contextIds: Int32Array.from(ids.slice(from, from + times * (130 + 71 * i % 517))),
      queryIds: Int32Array.from(entry.query_ids.slice(-(1 + 5 * i % 23))),
      tokensToGenerate: 1 + 5 * i % 9,
      stopIds: [],
      topLogits: 4,
    };
  });
}

/** Runs the samples on all ranks; what rank 0 learnt, in the order of the samples. */
export async function runBatches(
  samples: readonly GenerateRequest[],
  run: BatchRun,
): Promise<BatchResult[]> {
  const { ranks = 1 } = run;
  if (ranks === 1) {
    using collective = new SelfCollective();
    return await runOnRank(samples, { run, collective });
  }
  const slotBytes = 1 << 16;
  using group = new ShmGroup({ size: ranks, slotBytes });
  const results = await Promise.all(Array.from({ length: ranks }, async (_, rank) => {
    const options = { rank, size: ranks, slotBytes, timeoutMs: 60_000 };
    using collective = new ShmCollective(group.path, options);
    return await runOnRank(samples, { run, collective });
  }));
  const [first = []] = results;
  return first.map(({ ids }, i) => ({
    ids,
    // Only the query rank has them.
    topLogits: results.flatMap((result) => result[i]?.topLogits ?? []),
  }));
}

async function runOnRank(
  samples: readonly GenerateRequest[],
  options: { run: BatchRun; collective: Collective },
): Promise<BatchResult[]> {
  const { run, collective } = options;
  const { plan, dtype, cache = dtype, device = "cpu", gpusPerRank, width, order } = run;
  using model = await RankModel.load(
    {
      modelFolder: MODEL,
      plan,
      device,
      precision: { ...PRECISIONS[dtype], cache },
      threads: 1,
      gpusPerRank,
      batchSize: width,
    },
    { host: collective },
  );
  const results: BatchResult[] = [];
  const waiting = [...order];
  let active: { index: number; answer: Answer }[] = [];
  const onLayer = () => {};
  const decode = async (maxSteps: number): Promise<void> => {
    const going = active.map(({ answer }) => answer).filter(({ isDone }) => !isDone);
    if (going.length > 0) await model.decode(going, { collective, onLayer, maxSteps });
  };
  const hooks = {
    ...NO_HOOKS,
    agreeOnPauses: async (chunks: number) => {
      const counts = await gatherNumbers(collective, [active.length === 0 ? 1 : chunks]);
      return Math.max(0, ...counts.flat().map((count) => count - 1));
    },
    pause: async () => {
      await decode(1);
      if (collective.rank === 0) run.onPause?.();
    },
  };
  while (waiting.length > 0 || active.length > 0) {
    while (active.length < width && waiting.length > 0) {
      const index = waiting.shift() ?? 0;
      const request = samples[index];
      assert(request !== undefined);
      const room = request.queryIds.length + request.tokensToGenerate;
      const common = { collective, onProgress: () => {}, hooks };
      const encoded = await model.encode(request.contextIds, { ...common, room });
      const call = { request, collective, onLayer, onToken: () => {}, hooks };
      active.push({ index, answer: await model.begin(encoded, call) });
    }
    await decode(3);
    for (const { index, answer: { isDone, ids, topLogits, sequence } } of active) {
      if (!isDone) continue;
      results[index] = { ids: [...ids], topLogits };
      sequence[Symbol.dispose]();
    }
    active = active.filter(({ answer }) => !answer.isDone);
  }
  return results;
}

/** Of the order in which samples are run together. */
export const BATCH_SEED = 7;

/** The plan of a mode by the reference's names, or of the ring's modes. */
export async function batchPlan(name: string): Promise<CheckedPlan> {
  const [entry] = await goldenEntries();
  assert(entry !== undefined);
  const isRing = name === "ring" || name === "ringx";
  const options = isRing ? { mode: name } as const : goldenPlan(name, entry);
  assert(options !== undefined);
  return checkPlan(options);
}

/**
 * Runs the samples one by one, and then together in another order, a token of those under way between
 * two chunks of one that begins: the same bits must come.
 */
export async function checkWidths(
  widths: readonly number[],
  run: Omit<BatchRun, "width" | "order"> & { count: number; times?: number },
): Promise<void> {
  const { count, times = 1 } = run;
  const samples = await batchSamples(count, { times });
  const order = samples.map((_, i) => i);
  const expected = await runBatches(samples, { ...run, width: 1, order });
  assertEquals(expected.map(({ ids }) => ids.length), samples.map((s) => s.tokensToGenerate));
  // They are no copies of each other.
  assert(new Set(expected.map(({ topLogits }) => String(topLogits))).size === count);
  for (const width of widths) {
    let pauses = 0;
    const onPause = () => void pauses++;
    const found = await runBatches(samples, {
      ...run,
      width,
      order: new Random(BATCH_SEED).shuffled(count),
      onPause,
    });
    assertEquals(found, expected);
    const longest = Math.max(...samples.map(({ contextIds }) => contextIds.length));
    if (run.device !== "cuda" || longest > DEVICE_TRAITS.cuda.chunkTokens) {
      assert(pauses > 0, "some sample has several chunks");
    }
  }
}
