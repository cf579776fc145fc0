import { type AttentionPlan, checkPlan, sharesContext } from "../../../lib/attention/plan.ts";
import { UsageError } from "../../../lib/errors.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

const GOOD: AttentionPlan = {
  mode: "starx",
  blockTokens: 1024,
  anchorTokens: 1024,
  stride: 16,
  threshold: 0.95,
  merge: "lse",
};

Deno.test("checkPlan() returns a plan that can be used", () => {
  assertEquals(checkPlan(GOOD), GOOD);
});

Deno.test("checkPlan() drops block sizes and merge in modes without blocks", () => {
  assertEquals(checkPlan({ ...GOOD, mode: "dense", blockTokens: 7, merge: "antidiagonal" }), {
    ...GOOD,
    mode: "dense",
    blockTokens: 0,
    anchorTokens: 0,
  });
});

const REFUSED: readonly [string, Partial<AttentionPlan>, string][] = [
  ["a block size of 0", { blockTokens: 0 }, "'--block_size' must be a whole number above 0"],
  [
    "a block size that is no multiple of 128 in starx",
    { blockTokens: 1000 },
    "'--block_size' must be a multiple of 128 in starx: current value is 1000",
  ],
  [
    "an anchor larger than the block",
    { anchorTokens: 2048 },
    "'--anchor_block_size' must be at most '--block_size' 1024: current value is 2048",
  ],
  [
    "a stride that is no divisor of 128",
    { stride: 24 },
    "'--stride' must be a divisor of 128: current value is 24",
  ],
  ["a threshold of 0", { threshold: 0 }, "'--threshold' must be above 0 and at most 1"],
  ["a threshold above 1", { threshold: 1.5 }, "current value is 1.5"],
  ["a threshold that is no number", { threshold: NaN }, "current value is NaN"],
];

for (const [what, change, message] of REFUSED) {
  Deno.test(`checkPlan() throws on ${what}`, () => {
    assertThrows(() => checkPlan({ ...GOOD, ...change }), UsageError, message);
  });
}

Deno.test("checkPlan() takes any block size in star", () => {
  checkPlan({ ...GOOD, mode: "star", blockTokens: 300, anchorTokens: 100 });
});

Deno.test("sharesContext() tells the modes that run on several processes", () => {
  const modes = ["dense", "xattn", "star", "starx", "ring"] as const;
  assertEquals(modes.filter(sharesContext), ["star", "starx", "ring"]);
});
