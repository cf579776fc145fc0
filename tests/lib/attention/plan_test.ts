import {
  ATTENTION_MODES,
  type BlockCut,
  checkPlan,
  modeOf,
  type Plan,
  type PlanOptions,
  sharesContext,
  usedRanks,
} from "../../../lib/attention/plan.ts";
import { UsageError } from "../../../lib/errors.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

const GOOD = {
  mode: "starx",
  blockTokens: 1024,
  anchorTokens: 512,
  stride: 8,
  threshold: 0.9,
  merge: "antidiagonal",
} as const satisfies PlanOptions;
const BLOCKS: BlockCut = {
  kind: "blocks",
  blockTokens: 1024,
  anchorTokens: 512,
  merge: "antidiagonal",
};
const plain = (options: PlanOptions): Plan => checkPlan(options);
const SELECTION = { stride: 8, threshold: 0.9 };

Deno.test("checkPlan() makes a cut of the context and a selection of every mode", () => {
  const plans = ATTENTION_MODES.map((mode) => [mode, plain({ ...GOOD, mode })]);
  assertEquals(plans, [
    ["dense", { cut: { kind: "whole" } }],
    ["xattn", { cut: { kind: "whole" }, selection: SELECTION }],
    ["star", { cut: BLOCKS }],
    ["starx", { cut: BLOCKS, selection: SELECTION }],
    ["ring", { cut: { kind: "parts" } }],
    ["ringx", { cut: { kind: "parts" }, selection: SELECTION }],
  ]);
});

Deno.test("checkPlan() has defaults for all but the block size", () => {
  assertEquals(plain({}), { cut: { kind: "whole" } });
  assertEquals(plain({ mode: "starx", blockTokens: 256, stride: undefined }), {
    cut: { kind: "blocks", blockTokens: 256, anchorTokens: 256, merge: "lse" },
    selection: { stride: 16, threshold: 0.95 },
  });
});

Deno.test("checkPlan() keeps a rest of 'mean', in modes that select", () => {
  const means = { ...SELECTION, rest: "mean" } as const;
  for (const mode of ATTENTION_MODES) {
    const { selection } = checkPlan({ ...GOOD, mode, rest: "mean" });
    assertEquals(selection, mode.endsWith("x") || mode === "xattn" ? means : undefined);
    assertEquals(plain({ ...GOOD, mode, rest: "drop" }), plain({ ...GOOD, mode }));
  }
});

Deno.test("checkPlan() takes a share or a threshold of what phase 2 reads", () => {
  const kept = (decodeKeep: PlanOptions["decodeKeep"]) => plain({ decodeKeep }).decodeKeep;
  assertEquals(
    [kept(0.5), kept({ share: 0.25 }), kept({ threshold: 0.9 })],
    [{ share: 0.5 }, { share: 0.25 }, { threshold: 0.9 }],
  );
  // All keys: nothing is chosen.
  for (const all of [undefined, 1, { share: 1 }, { threshold: 1 }]) {
    assertEquals(plain({ decodeKeep: all }), plain({}));
  }
  // Where it has no meaning, it may be said that all are read.
  assertEquals(plain({ mode: "ring", decodeKeep: 1 }), plain({ mode: "ring" }));
});

Deno.test("modeOf() names the mode that a plan was made of", () => {
  assertEquals(
    ATTENTION_MODES.map((mode) => modeOf(checkPlan({ ...GOOD, mode }))),
    ATTENTION_MODES,
  );
});

/** What a caller without types hands in. */
const foreign = (options: unknown) => options as Partial<PlanOptions>;

const REFUSED: readonly [string, Partial<PlanOptions>, string][] = [
  ["a mode that there is not", foreign({ mode: "dens" }), "'mode' must be one of dense, xattn, "],
  ["a block size of 0", { blockTokens: 0 }, "'blockTokens' must be a whole number above 0"],
  [
    "no block size",
    { blockTokens: undefined },
    "'blockTokens' is missing: it must be a whole number above 0",
  ],
  ["a block size in a text", foreign({ blockTokens: "1024" }), "'blockTokens' must be a whole"],
  [
    "a block size that is no multiple of 128 in starx",
    { blockTokens: 1000 },
    "'blockTokens' must be a multiple of 128 in starx: current value is 1000",
  ],
  [
    "an anchor larger than the block",
    { anchorTokens: 2048 },
    "'anchorTokens' must be at most 'blockTokens' 1024: current value is 2048",
  ],
  [
    "a stride that is no divisor of 128",
    { stride: 24 },
    "'stride' must be a divisor of 128: current value is 24",
  ],
  ["a threshold of 0", { threshold: 0 }, "'threshold' must be above 0 and at most 1"],
  ["a threshold above 1", { threshold: 1.5 }, "current value is 1.5"],
  ["a threshold that is no number", { threshold: NaN }, "current value is NaN"],
  ["a share of 0", { threshold: { share: 0 } }, "'threshold.share' must be above 0 and at most 1"],
  ["a share above 1", { threshold: { share: 2 } }, "current value is 2"],
  [
    "a share and layers",
    foreign({ threshold: { share: 0.1, layers: [] } }),
    "'threshold.stride' is missing: it must be a number",
  ],
  ["a threshold in a text", foreign({ threshold: "0.9" }), "'threshold' must be above 0"],
  ["a rest that there is not", foreign({ rest: "keep" }), "'rest' must be one of mean, drop"],
  [
    "a kept share of 0",
    { decodeKeep: 0 },
    "'decodeKeep' must be a share, or { share } or { threshold }, above 0 and at most 1",
  ],
  ["a kept share above 1", { decodeKeep: { share: 1.5 } }, "'decodeKeep' must be a share, or"],
  ["a kept share in a text", foreign({ decodeKeep: "0.5" }), "'decodeKeep' must be a share, or"],
  [
    "both",
    foreign({ decodeKeep: { share: 0.5, threshold: 0.5 } }),
    "must be a share, or { share }",
  ],
  ["a kept tau", foreign({ decodeKeep: { tau: 0.5 } }), "must be a share, or { share }"],
  [
    "keys that are chosen beside StarXAttention's weights",
    { decodeKeep: 0.5 },
    "'decodeKeep' must be absent unless 'merge' is lse: current value is 0.5",
  ],
  [
    "keys that are chosen in a ring",
    { mode: "ring", decodeKeep: { threshold: 0.9 } },
    "'decodeKeep' must be absent in ring and ringx: current value is tau:0.9",
  ],
  [
    "keys that are chosen in blocks that are no whole tiles",
    { mode: "star", merge: "lse", blockTokens: 1000, decodeKeep: 0.5 },
    "'blockTokens' must be a multiple of 128 with 'decodeKeep': current value is 1000",
  ],
  ["a merge that there is not", foreign({ merge: "mean" }), "'merge' must be one of lse, anti"],
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
  assertEquals(
    ATTENTION_MODES.filter((mode) => sharesContext(checkPlan({ ...GOOD, mode }))),
    ["star", "starx", "ring", "ringx"],
  );
});

Deno.test("usedRanks() is at most the blocks, parts or tiles of the context", () => {
  const used = (mode: PlanOptions["mode"], contextTokens?: number) =>
    usedRanks(checkPlan({ ...GOOD, mode }), { ranks: 4, contextTokens });
  assertEquals([used("dense"), used("xattn", 9999)], [1, 1]);
  assertEquals([used("star"), used("star", 2049), used("star", 0)], [4, 3, 1]);
  assertEquals([used("ring"), used("ring", 257), used("ring", 0)], [4, 3, 1]);
  assertEquals([used("ringx"), used("ringx", 257), used("ringx", 1)], [4, 3, 1]);
});
