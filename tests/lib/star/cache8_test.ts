/**
 * Keys and values of 8 bits: the same bits in any company and however a context is kept, the same
 * answers on any number of ranks and in chunks of any length.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { RankModel } from "../../../lib/engine/rank.ts";
import { readConfig } from "../../../lib/model/config.ts";
import { type CacheKind, PRECISIONS } from "../../../lib/model/precision.ts";
import { loadWeights } from "../../../lib/model/weights.ts";
import { SelfCollective } from "../../../lib/parallel/self.ts";
import { assert, assertEquals, assertLess, assertNotEquals } from "../../helpers/assert.ts";
import { BATCH_SEED, batchSamples, checkWidths, runBatches } from "../../helpers/batches.ts";
import {
  checkSame,
  KEPT_BLOCKS,
  KEPT_SELECTION,
  KEPT_SIZES,
  runKept,
} from "../../helpers/kept_tokens.ts";
import { MODEL } from "../../helpers/prompts.ts";
import { checkFailedSequence, checkStaleKeys } from "../../helpers/stale_keys.ts";

const BLOCKS = { blockTokens: 256, anchorTokens: 128 } as const;

const COMPANIES: readonly (readonly [string, PlanOptions, CacheKind, number])[] = [
  ["dense", { mode: "dense" }, "int8", 1],
  ["starx", { mode: "starx", ...BLOCKS, threshold: 0.7 }, "fp8", 2],
  ["ringx", { mode: "ringx", threshold: 0.7, rest: "mean" }, "int8", 2],
  ["star, a share", { mode: "star", ...BLOCKS, decodeKeep: 0.5 }, "int8", 2],
];

for (const [name, options, cache, ranks] of COMPANIES) {
  Deno.test(`a sample has the same bits in batches of 1 and 5 with a cache in ${cache}: ${name}, ${ranks} ranks (seed ${BATCH_SEED})`, async () => {
    const plan = checkPlan(options);
    await checkWidths([5], { plan, dtype: "bf16", cache, ranks, count: 7, times: 2 });
  });
}

/** Ids of both, and how far the logits are apart at most. */
function distance(
  a: readonly { ids: readonly number[]; topLogits: readonly (readonly [number, number])[] }[],
  b: typeof a,
): { sameIds: boolean; logits: number } {
  let logits = 0;
  for (const [i, { topLogits }] of a.entries()) {
    const others = new Map(b[i]?.topLogits ?? []);
    for (const [id, logit] of topLogits) {
      logits = Math.max(logits, Math.abs(logit - (others.get(id) ?? logit)));
    }
  }
  return { sameIds: a.every(({ ids }, i) => String(ids) === String(b[i]?.ids)), logits };
}

for (
  const options of [
    { mode: "star", ...BLOCKS },
    { mode: "starx", ...BLOCKS, threshold: 0.8 },
    { mode: "ring" },
    { mode: "star", ...BLOCKS, decodeKeep: 0.5 },
  ] as const
) {
  const name = `${options.mode}${"decodeKeep" in options ? ", a share" : ""}`;
  Deno.test(`a cache in int8 gives the same answers on 1, 2 and 3 ranks: ${name}`, async () => {
    const plan = checkPlan(options);
    const samples = await batchSamples(5, { times: 3 });
    const order = samples.map((_, i) => i);
    const run = (ranks: number, cache: CacheKind) =>
      runBatches(samples, { plan, dtype: "f32", cache, ranks, width: 2, order });
    const expected = await run(1, "int8");
    const rounding = distance(await run(1, "f32"), expected).logits;
    for (const ranks of [2, 3]) {
      const { sameIds, logits } = distance(await run(ranks, "int8"), expected);
      assert(sameIds, `${ranks} ranks`);
      // Parts are merged in another order of sums, by which a number here and there falls to the next
      // code: far less than what 8 bits change.
      assertLess(logits, rounding / 4);
    }
  });
}

/** The logits of all tokens behind a query, of a context that is encoded in chunks of some length. */
async function logitsOf(cache: CacheKind, chunkTokens: number): Promise<Float64Array> {
  using owned = new DisposableStack();
  const device = owned.use(await openCpuDevice({ threads: 1 }));
  const config = await readConfig(MODEL);
  const stages = stagesOn([device], config);
  const precision = { ...PRECISIONS.f32, cache };
  const weights = owned.use(await loadWeights(stages, { folder: MODEL, config, precision }));
  const plan = checkPlan({ mode: "dense" });
  const parts = { config, stages, weights, plan, precision, chunkTokens };
  const model = owned.use(await RankModel.assemble(parts));
  const [sample] = await batchSamples(1, { times: 4 });
  assert(sample !== undefined);
  const collective = owned.use(new SelfCollective());
  const call = { collective, onProgress: () => {}, onLayer: () => {}, onToken: () => {} };
  using encoded = await model.encode(sample.contextIds, { ...call, room: 64 });
  const request = { ...sample, topLogits: config.vocabularySize, tokensToGenerate: 1 };
  const { topLogits } = await model.begin(encoded, { ...call, request });
  const logits = new Float64Array(config.vocabularySize);
  for (const [id, logit] of topLogits) logits[id] = logit;
  return logits;
}

Deno.test("a query meets the rounded keys of its own chunk, too", async () => {
  const far = (a: Float64Array, b: Float64Array) =>
    a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
  const exact = await logitsOf("f32", 512);
  const rounded = await logitsOf("int8", 512);
  const rounding = far(exact, rounded);
  assert(rounding > 0, "8 bits must round");
  for (const chunkTokens of [128, 256]) {
    // Sums of another order, by which a number here and there falls to the next code.
    assertLess(far(await logitsOf("int8", chunkTokens), rounded), rounding / 20);
  }
});

const WINDOWS: readonly (readonly [PlanOptions, CacheKind, number])[] = [
  [{ mode: "dense" }, "int8", 1],
  [{ mode: "starx", ...KEPT_BLOCKS, ...KEPT_SELECTION }, "int8", 2],
  [{ mode: "star", ...KEPT_BLOCKS, merge: "antidiagonal" }, "fp8", 2],
  [{ mode: "ring" }, "int8", 2],
  [{ mode: "ringx", ...KEPT_SELECTION }, "fp8", 3],
];

for (const [options, cache, ranks] of WINDOWS) {
  const name = [options.mode, options.merge ?? "", `${ranks} ranks`].filter(Boolean).join(", ");
  Deno.test(`what windows hide is not kept with a cache in ${cache}, and nothing changes: ${name}`, async () => {
    const open = () => openCpuDevice({ threads: 1 });
    await checkSame({ ...KEPT_SIZES, lengths: [2900, 700], options, ranks, cache, open });
  });
}

Deno.test("a context in 8 bits that is asked again, and a copy of it, have what they had", async () => {
  const open = () => openCpuDevice({ threads: 1 });
  const run = { ...KEPT_SIZES, options: { mode: "dense" }, ranks: 1, cache: "int8", open } as const;
  const again = { isAskedAgain: true, lengths: [1500, 2000], answerTokens: 150 };
  await checkSame({ ...run, ...again });
});

Deno.test("an anchor in 8 bits that is sent has the bits of one that is encoded", async () => {
  const options = { mode: "star", blockTokens: 640, anchorTokens: 640 } as const;
  const open = () => openCpuDevice({ threads: 1 });
  const run = { ...KEPT_SIZES, lengths: [1280], options, ranks: 2, cache: "int8", open } as const;
  const facts = async (sendsAnchor: boolean) => {
    const { ranks } = await runKept({ ...run, sendsAnchor }, { keepsAll: true });
    return ranks.map(([passes, ...answers]) => ({ passes, answers }));
  };
  const [sent, encoded] = [await facts(true), await facts(false)];
  assertEquals(sent.map(({ passes }) => passes), [[0], [0]]);
  assertNotEquals(encoded[1]?.passes, [0]);
  assertEquals(sent.map(({ answers }) => answers), encoded.map(({ answers }) => answers));
});

for (
  const options of [{ mode: "dense" }, { mode: "starx", ...BLOCKS }, { decodeKeep: 0.5 }] as const
) {
  for (const kind of ["int8", "fp8"] as const) {
    Deno.test(`what free pages in ${kind} hold changes nothing: ${JSON.stringify(options)}`, async () => {
      using device = await openCpuDevice({ threads: 1 });
      await checkStaleKeys(device, { ...options, kind });
      await checkFailedSequence(device, { ...options, kind });
    });
  }
}
