import { computedShare } from "../../commands/shared/computed_share.ts";
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import type { RankCounters } from "../../lib/star/request.ts";
import { assertEquals } from "../helpers/assert.ts";
import { STAR } from "../helpers/prompts.ts";

function rank(anchorPasses: number): RankCounters {
  return {
    ...{ rank: 0, blocks: 0, blockTokens: 0, selectedTiles: 0, causalTiles: 0 },
    ...{ prefillSeconds: 0, decodeSeconds: 0, residentMib: 0, anchorPasses },
  };
}

function share(
  plan: PlanOptions,
  facts: { tokens: number; ranks: RankCounters[]; selected?: [number, number][] },
): number {
  const { tokens: contextTokens, ranks, selected: selectedTiles = [] } = facts;
  return computedShare(checkPlan(plan), {
    contextTokens,
    result: { ids: [], topLogits: [], selectedTiles, headShares: [], masks: [], ranks },
  });
}

Deno.test("computedShare() is 1 in dense modes, and what was taken with selection", () => {
  const tokens = 1024;
  const ranks = [rank(0)];
  assertEquals(share({ ...STAR, mode: "dense" }, { tokens, ranks }), 1);
  assertEquals(share({ ...STAR, mode: "ring" }, { tokens, ranks: [rank(0), rank(0)] }), 1);
  const selected: [number, number][] = [[3, 10], [1, 10]];
  assertEquals(share({ ...STAR, mode: "xattn" }, { tokens, ranks, selected }), 0.2);
});

Deno.test("computedShare() counts what lies between block and anchor in star", () => {
  // Four blocks of two tiles: three tiles each, and four more with the anchor in all but the first.
  const whole = 8 * 9 / 2;
  const plan = { ...STAR, mode: "star" } as const;
  const tokens = 1024;
  assertEquals(share(plan, { tokens, ranks: [rank(0)] }), (4 * 3 + 3 * 4) / whole);
  const ranks = [rank(0), rank(1)];
  assertEquals(share(plan, { tokens, ranks }), (4 * 3 + 3 * 4 + 3) / whole);
});

Deno.test("computedShare() takes each block with what was selected of it in starx", () => {
  const plan = { ...STAR, mode: "starx" } as const;
  const selected: [number, number][] = [[1, 2], [1, 2], [1, 4], [3, 4]];
  // Block 0 of three tiles by half, block 1 of seven by half, and the anchor as block 0.
  const ranks = [rank(0), rank(1)];
  assertEquals(share(plan, { tokens: 512, ranks, selected }), (1.5 + 3.5 + 1.5) / 10);
});
