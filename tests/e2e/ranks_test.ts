/**
 * Several ranks do the work of one: the same ids and logits, each rank its own blocks, the anchor
 * once.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";

const RANKS = [1, 2, 3, 4];
/** The promise for f32; bf16 rounds the parts' sums at other places. */
const F32_LOGITS = 1e-4;

const PLANS: readonly { name: string; plan: PlanOptions }[] = [
  { name: "star", plan: STAR },
  { name: "star with a small anchor", plan: { ...STAR, anchorTokens: 100 } },
  { name: "starx", plan: { ...STAR, mode: "starx" } },
];

async function run(
  plan: PlanOptions,
  options: { processCount: number; dtype: "f32" | "bf16" },
): Promise<GenerateResult> {
  await using engine = await openTiny({ plan, ...options });
  return await engine.generate(await goldenRequest({ task: "niah_multikey_2" }));
}

function assertSameLogits(found: GenerateResult, expected: GenerateResult): void {
  const values = new Map(found.topLogits);
  for (const [id, logit] of expected.topLogits.slice(0, 20)) {
    const value = values.get(id);
    assert(
      value !== undefined && Math.abs(value - logit) <= F32_LOGITS,
      `the logit of id ${id} must be ${logit} within ${F32_LOGITS}: found ${value}`,
    );
  }
}

for (const { name, plan } of PLANS) {
  for (const dtype of ["f32", "bf16"] as const) {
    Deno.test(`generate() in ${dtype} gives the same ids on 1 to 4 ranks in ${name}`, async () => {
      let first: GenerateResult | undefined;
      for (const processCount of RANKS) {
        const result = await run(plan, { processCount, dtype });
        first ??= result;
        assertEquals(result.ids, first.ids, `with ${processCount} ranks`);
        assertEquals(result.selectedTiles, first.selectedTiles, `with ${processCount} ranks`);
        if (dtype === "f32") assertSameLogits(result, first);
      }
    });
  }
}

Deno.test("generate() has each rank encode its own blocks, and the anchor once", async () => {
  const request = await goldenRequest({ task: "niah_multikey_2" });
  const tokens = request.contextIds.length;
  const blocks = Math.ceil(tokens / STAR.blockTokens);
  for (const processCount of RANKS) {
    await using engine = await openTiny({ plan: STAR, processCount });
    const { ranks } = await engine.generate(request);
    assertEquals(ranks.map(({ rank }) => rank), RANKS.slice(0, processCount).map((n) => n - 1));
    // As numpy.array_split deals them: the first ranks get one more.
    const shares = ranks.map((_, i) =>
      Math.floor(blocks / processCount) + (i < blocks % processCount ? 1 : 0)
    );
    assertEquals(ranks.map((rank) => rank.blocks), shares);
    assertEquals(ranks.reduce((sum, rank) => sum + rank.blockTokens, 0), tokens);
    assertEquals(ranks.map((rank) => rank.anchorPasses), shares.map((_, i) => i === 0 ? 0 : 1));
  }
});

Deno.test("generate() leaves ranks beyond the number of blocks without work", async () => {
  const plan = { ...STAR, blockTokens: 1024, anchorTokens: 128 };
  const request = await goldenRequest({ task: "niah_single_3" });
  const blocks = Math.ceil(request.contextIds.length / plan.blockTokens);
  await using alone = await openTiny({ plan, processCount: 1 });
  await using crowd = await openTiny({ plan, processCount: blocks + 2 });
  const expected = await alone.generate(request);
  const found = await crowd.generate(request);
  assertEquals(found.ids, expected.ids);
  assertEquals(found.ranks.slice(blocks).map((rank) => rank.blockTokens), [0, 0]);
});

Deno.test("generate() with merge antidiagonal gives ids of its own", async () => {
  const plan: PlanOptions = { ...STAR, merge: "antidiagonal" };
  const result = await run(plan, { processCount: 3, dtype: "f32" });
  const lse = await run(STAR, { processCount: 3, dtype: "f32" });
  assert(String(result.ids) !== String(lse.ids), "the two ways to merge must differ");
});
