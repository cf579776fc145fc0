/**
 * Mode ring computes what dense does, on any number of ranks.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { GenerateRequest, GenerateResult } from "../../lib/star/request.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";

const RING: PlanOptions = { ...STAR, mode: "ring", blockTokens: 0, anchorTokens: 0 };
const DENSE: PlanOptions = { ...RING, mode: "dense" };
/** The promise of the issue; sums are only taken in another order. */
const LOGIT_TOLERANCE = 5e-3;

async function run(
  request: GenerateRequest,
  options: { plan: PlanOptions; processCount: number; dtype: "f32" | "bf16" },
): Promise<GenerateResult> {
  await using engine = await openTiny(options);
  return await engine.generate(request);
}

for (const dtype of ["f32", "bf16"] as const) {
  Deno.test(`generate() in ${dtype} gives dense's ids on 1 to 4 ranks in ring`, async () => {
    const request = await goldenRequest({ task: "niah_multikey_2" });
    const expected = await run(request, { plan: DENSE, processCount: 1, dtype });
    for (const processCount of [1, 2, 3, 4]) {
      const found = await run(request, { plan: RING, processCount, dtype });
      assertEquals(found.ids, expected.ids, `with ${processCount} ranks`);
      if (dtype === "f32") assertSameLogits(found, expected);
      assertEquals(
        found.ranks.reduce((sum, { blockTokens }) => sum + blockTokens, 0),
        request.contextIds.length,
      );
      assertEquals(found.ranks.map(({ blocks }) => blocks), Array(processCount).fill(1));
    }
  });
}

Deno.test("generate() in ring leaves ranks without a token of the context idle", async () => {
  const request = await goldenRequest({ task: "niah_single_3", tokensToGenerate: 4 });
  const short = { ...request, contextIds: request.contextIds.slice(0, 2) };
  const expected = await run(short, { plan: DENSE, processCount: 1, dtype: "f32" });
  const found = await run(short, { plan: RING, processCount: 3, dtype: "f32" });
  assertEquals(found.ids, expected.ids);
  assertEquals(found.ranks.map(({ blockTokens }) => blockTokens), [1, 1, 0]);
});

function assertSameLogits(found: GenerateResult, expected: GenerateResult): void {
  const values = new Map(found.topLogits);
  for (const [id, logit] of expected.topLogits.slice(0, 20)) {
    const value = values.get(id);
    assert(
      value !== undefined && Math.abs(value - logit) <= LOGIT_TOLERANCE,
      `the logit of id ${id} must be ${logit} within ${LOGIT_TOLERANCE}: found ${value}`,
    );
  }
}
