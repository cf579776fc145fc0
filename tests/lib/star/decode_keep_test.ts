/**
 * Keys chosen in phase 2: the same in any company and on any number of ranks, and all keys where all
 * tiles are chosen.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { openPhases } from "../../../lib/engine/phases.ts";
import { UsageError } from "../../../lib/errors.ts";
import { assert, assertEquals, assertNotEquals, assertRejects } from "../../helpers/assert.ts";
import { BATCH_SEED, batchSamples, checkWidths, runBatches } from "../../helpers/batches.ts";
import { goldenEntries } from "../../helpers/golden.ts";
import { MODEL } from "../../helpers/prompts.ts";

const BLOCKS = { blockTokens: 256, anchorTokens: 128 } as const;
const KEPT: readonly (readonly [string, PlanOptions, number])[] = [
  ["dense, a share", { mode: "dense", decodeKeep: 0.4 }, 1],
  ["dense, a threshold", { mode: "dense", decodeKeep: { threshold: 0.5 } }, 1],
  ["star, a share", { mode: "star", ...BLOCKS, decodeKeep: 0.5 }, 2],
];

for (const [name, options, ranks] of KEPT) {
  Deno.test(`a sample has the same bits in batches of 1 and 5: ${name}, ${ranks} ranks (seed ${BATCH_SEED})`, async () => {
    const plan = checkPlan(options);
    await checkWidths([5], { plan, dtype: "bf16", ranks, count: 10, times: 2 });
  });
}

Deno.test("keys chosen in blocks give the same ids and logits on 1, 2 and 3 ranks", async () => {
  const plan = checkPlan({ mode: "star", ...BLOCKS, decodeKeep: 0.5 });
  const samples = await batchSamples(6, { times: 3 });
  const order = samples.map((_, i) => i);
  const run = (ranks: number) =>
    runBatches(samples, { plan, dtype: "f32", ranks, width: 2, order });
  const [expected = [], ...others] = [await run(1), await run(2), await run(3)];
  for (const found of others) {
    assertEquals(found.map(({ ids }) => ids), expected.map(({ ids }) => ids));
    for (const [i, { topLogits }] of found.entries()) {
      const logits = expected[i]?.topLogits ?? [];
      assertEquals(topLogits.map(([id]) => id), logits.map(([id]) => id));
      // Parts are merged in another order of sums; another choice would move them by far more.
      topLogits.forEach(([, logit], j) => assert(Math.abs(logit - (logits[j]?.[1] ?? NaN)) < 1e-3));
    }
  }
  const all = await runBatches(samples, {
    ...{ plan: checkPlan({ mode: "star", ...BLOCKS }), dtype: "f32", width: 2, order },
  });
  assertNotEquals(
    all.map(({ topLogits }) => topLogits),
    expected.map(({ topLogits }) => topLogits),
  );
});

Deno.test("a choice of every tile gives the bits of all keys", async () => {
  // Queries of at most 16 tokens are attended to by the same op in both.
  const samples = (await batchSamples(8)).map((sample) => ({
    ...sample,
    queryIds: sample.queryIds.slice(0, 16),
  }));
  const order = samples.map((_, i) => i);
  for (const dtype of ["f32", "bf16"] as const) {
    const run = (decodeKeep: number) =>
      runBatches(samples, { plan: checkPlan({ decodeKeep }), dtype, width: 3, order });
    // Below 1, so that tiles are chosen, and no tile is left out.
    assertEquals(await run(0.9999), await run(1), dtype);
  }
});

Deno.test("a context that is asked again, and a copy of it, keep their means", async () => {
  const [entry] = await goldenEntries();
  assert(entry !== undefined);
  const options = { mode: "dense", decodeKeep: 0.3, device: "cpu", threads: 1 } as const;
  await using phases = await openPhases(MODEL, options);
  const ids = Int32Array.from(Array.from({ length: 3 }, () => entry.context_ids).flat());
  const query = { tokensToGenerate: 5, stopIds: [], topLogits: 5 };
  const ask = async (of: Awaited<ReturnType<typeof phases.encode>>, from: number) =>
    await phases.answer(of, { ...query, queryIds: Int32Array.from(entry.query_ids.slice(from)) });
  using first = await phases.encode(ids, { room: 100 });
  const expected = [await ask(first, 0), await ask(first, -20)];
  // Another context grows the cache, and its pages are given back and taken again.
  for (const shift of [5, 9]) {
    using other = await phases.encode(ids.slice(shift), { room: 100 });
    assertNotEquals(await ask(other, 0), expected[0]);
    assertEquals([await ask(first, 0), await ask(first, -20)], expected);
  }
  using again = await phases.encode(ids, { room: 100 });
  assertEquals([await ask(again, 0), await ask(again, -20)], expected);
});

Deno.test("encode() refuses a plan that reads other keys than the model's steps", async () => {
  const star = { mode: "star", ...BLOCKS } as const;
  await using phases = await openPhases(MODEL, {
    ...star,
    decodeKeep: 0.5,
    device: "cpu",
    threads: 1,
  });
  const ids = Int32Array.of(5, 6, 7);
  const cases: readonly (readonly [PlanOptions, string])[] = [
    [star, "the model's, 0.5 of each 2 tiles: current value is 1"],
    [{ ...star, decodeKeep: { threshold: 0.5 } }, "current value is tau:0.5 of each 2 tiles"],
    [{ ...star, blockTokens: 512, decodeKeep: 0.5 }, "current value is 0.5 of each 4 tiles"],
    [{ mode: "dense", decodeKeep: 0.5 }, "current value is 0.5 of all tiles"],
  ];
  for (const [plan, message] of cases) {
    await assertRejects(() => phases.encode(ids, { room: 4, plan }), UsageError, message);
  }
  using same = await phases.encode(ids, { room: 4, plan: { ...star, decodeKeep: { share: 0.5 } } });
  assertEquals(same.layout.blocksByRank.length, 1);
});
