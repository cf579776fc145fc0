/**
 * Contexts that are encoded with a plan of their own, and answers that have no positions.
 *
 * @module
 */
import type { PlanOptions } from "../../../lib/attention/plan.ts";
import { loadModel } from "../../../lib/engine/load_model.ts";
import { openPhases, type Phases } from "../../../lib/engine/phases.ts";
import { checkPositions } from "../../../lib/engine/positions.ts";
import { RequestError, UsageError } from "../../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../../helpers/assert.ts";
import { BLOCKS, checkCallPlans, PLANS } from "../../helpers/call_plans.ts";
import { goldenEntries } from "../../helpers/golden.ts";
import { MODEL } from "../../helpers/prompts.ts";

const HERE = { device: "cpu", threads: 1 } as const;
async function run(phases: Phases, plan: PlanOptions | undefined) {
  const [entry] = await goldenEntries();
  assert(entry !== undefined);
  const contextIds = Int32Array.from(entry.context_ids);
  using encoded = await phases.encode(contextIds, { room: 80, plan });
  const answer = await phases.answer(encoded, {
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate: 4,
    stopIds: [],
    topLogits: 8,
  });
  return { ...answer, layout: encoded.layout, selected: encoded.selected };
}

Deno.test("encode() takes a plan of its own, as if the model had been opened with it", async () => {
  for (const processCount of [1, 2]) {
    const options = { ...HERE, processCount };
    await using phases = await openPhases(MODEL, { ...options, mode: "star", blockTokens: 512 });
    const before = await run(phases, undefined);
    for (const plan of PLANS) {
      await using own = await openPhases(MODEL, { ...options, ...plan });
      const found = await run(phases, plan);
      assertEquals(found, await run(own, undefined), `${plan.mode} on ${processCount} processes`);
    }
    assertEquals(await run(phases, undefined), before, "the model keeps its own plan");
  }
});

Deno.test("generate() takes a plan of its own, also beside prompts of another one", async () => {
  for (const processCount of [1, 2]) await checkCallPlans({ ...HERE, processCount });
});

Deno.test("generate() takes a kept context again if the plan is the same", async () => {
  await using model = await loadModel(MODEL, { ...HERE, mode: "star", ...BLOCKS });
  const [plan, other] = [{ mode: "xattn", threshold: 0.7 }, { mode: "xattn", threshold: 0.5 }];
  const prompt = { context: "The grass is green. ".repeat(90), query: "The grass is" };
  const blocksOf = async (plan: PlanOptions) => {
    const call = { tokensToGenerate: 1, plan, keepContext: true };
    const { result: { ranks: [rank] } } = await model.generate(prompt, call);
    return rank?.blocks;
  };
  assertEquals(await blocksOf(plan as PlanOptions), 1);
  assertEquals(await blocksOf(plan as PlanOptions), 0);
  assertEquals(await blocksOf(other as PlanOptions), 1);
});

Deno.test("generate() refuses a plan that merges in another way, or measures nothing", async () => {
  await using model = await loadModel(MODEL, { ...HERE, mode: "xattn" });
  const prompt = { context: "The sky is blue.", query: "The sky is" };
  const run = (plan: PlanOptions) => model.generate(prompt, { plan, withCurves: true });
  await assertRejects(
    () => run({ mode: "star", ...BLOCKS, merge: "antidiagonal" }),
    UsageError,
    "Cannot generate as 'merge' must be the model's, lse: current value is antidiagonal",
  );
  await assertRejects(() => run({ mode: "dense" }), UsageError, "current value is dense");
});

Deno.test("encode() refuses a plan that is none, or merges in another way", async () => {
  await using phases = await openPhases(MODEL, { ...HERE, mode: "star", ...BLOCKS });
  const cases: readonly (readonly [PlanOptions, string])[] = [
    [{ mode: "star" }, "Cannot plan blocks as 'blockTokens' is missing"],
    [{ mode: "xattn", threshold: 2 }, "'threshold' must be above 0 and at most 1"],
    [{ treshold: 0.5 } as PlanOptions, "Cannot encode a context as 'treshold' is none of"],
    [
      { mode: "star", ...BLOCKS, merge: "antidiagonal" },
      "Cannot encode a context as 'merge' must be the model's, lse: current value is antidiagonal",
    ],
  ];
  for (const [plan, message] of cases) {
    await assertRejects(() => run(phases, plan), UsageError, message);
  }
  await run(phases, undefined);
});

Deno.test("checkPositions() lets a benchmark's prompts pass, and no answer far beyond", () => {
  const check = (promptTokens: number, tokensToGenerate: number) =>
    checkPositions(1000, { sample: "s", promptTokens, tokensToGenerate });
  assertEquals(check(872, 128), undefined);
  assertEquals(check(1000, 128), undefined);
  const warning = "Sample s has 1020 tokens, more than the model's 1000 positions " +
    "(max_position_embeddings)";
  assertEquals(check(1020, 100), warning);
  assertThrows(
    () => check(1149, 128),
    RequestError,
    "a prompt must have at most 1000 tokens (max_position_embeddings; up to 1148 with a warning): " +
      "current value is 1149",
  );
  assertEquals(check(100, 1176), undefined);
  assertThrows(
    () => check(100, 1177),
    RequestError,
    "Cannot run sample s as prompt and answer must have at most 1000 tokens " +
      "(max_position_embeddings): current value is 100 and 1177",
  );
});

Deno.test("answers beyond the model's positions are refused, and the model goes on", async () => {
  await using model = await loadModel(MODEL, HERE);
  const prompt = { context: "The sky is blue.", query: "The sky is" };
  await assertRejects(
    () => model.generate(prompt, { tokensToGenerate: 20_000 }),
    RequestError,
    "prompt and answer must have at most 16384 tokens",
  );
  assertEquals((await model.generate(prompt, { tokensToGenerate: 2 })).ids.length, 2);
  await using phases = await openPhases(MODEL, HERE);
  await assertRejects(
    () => phases.encode(new Int32Array(16_385), { room: 1 }),
    RequestError,
    "must have at most 16384 tokens (max_position_embeddings): current value is 16385",
  );
  using encoded = await phases.encode(Int32Array.of(1, 2), { room: 9 });
  const query = { queryIds: Int32Array.of(3), stopIds: [], topLogits: 0 };
  await assertRejects(
    () => phases.answer(encoded, { ...query, tokensToGenerate: 16_382 }),
    RequestError,
    "Cannot answer as context, query and answer must have at most 16384 tokens " +
      "(max_position_embeddings): current value is 16385",
  );
  assertEquals((await phases.answer(encoded, { ...query, tokensToGenerate: 3 })).ids.length, 3);
});
