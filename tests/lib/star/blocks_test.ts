import { type AttentionMode, type CheckedPlan, checkPlan } from "../../../lib/attention/plan.ts";
import { layOutBlocks, tokensIn } from "../../../lib/star/blocks.ts";
import { assertEquals } from "../../helpers/assert.ts";

function plan(mode: AttentionMode, blockTokens: number, anchorTokens = blockTokens): CheckedPlan {
  return checkPlan({ mode, blockTokens, anchorTokens, threshold: 0.9 });
}

Deno.test("layOutBlocks() cuts the context into blocks, the last one shorter", () => {
  const layout = layOutBlocks(plan("star", 300, 100), { contextTokens: 700, ranks: 1 });
  assertEquals(layout, {
    anchorTokens: 100,
    blocksByRank: [[
      { index: 0, start: 0, end: 300 },
      { index: 1, start: 300, end: 600 },
      { index: 2, start: 600, end: 700 },
    ]],
    queryRank: 0,
  });
});

Deno.test("layOutBlocks() deals blocks as numpy's array_split does", () => {
  for (
    const [blocks, ranks, expected] of [
      [7, 3, [3, 2, 2]],
      [8, 3, [3, 3, 2]],
      [4, 4, [1, 1, 1, 1]],
      [2, 4, [1, 1]],
    ] as const
  ) {
    const layout = layOutBlocks(plan("starx", 128), { contextTokens: blocks * 128, ranks });
    assertEquals(layout.blocksByRank.map((blocks) => blocks.length), [...expected]);
    assertEquals(layout.queryRank, expected.length - 1);
    assertEquals(
      layout.blocksByRank.flat().map((block) => block.index),
      Array.from({ length: blocks }, (_, i) => i),
    );
    assertEquals(
      layout.blocksByRank.reduce((sum, blocks) => sum + tokensIn(blocks), 0),
      blocks * 128,
    );
  }
});

Deno.test("layOutBlocks() gives modes without blocks one block on one rank", () => {
  const layout = layOutBlocks(plan("dense", 0), { contextTokens: 1000, ranks: 3 });
  assertEquals(layout, {
    anchorTokens: 0,
    blocksByRank: [[{ index: 0, start: 0, end: 1000 }]],
    queryRank: 0,
  });
});

Deno.test("layOutBlocks() has no anchor when there is one block, and an empty block for no context", () => {
  assertEquals(
    layOutBlocks(plan("star", 512), { contextTokens: 512, ranks: 2 }).anchorTokens,
    0,
  );
  assertEquals(layOutBlocks(plan("star", 512), { contextTokens: 0, ranks: 2 }).blocksByRank, [
    [{ index: 0, start: 0, end: 0 }],
  ]);
});

Deno.test("layOutBlocks() cuts the context into one contiguous part per rank in ring", () => {
  const layout = layOutBlocks(plan("ring", 0), { contextTokens: 11, ranks: 3 });
  assertEquals(layout, {
    anchorTokens: 0,
    blocksByRank: [
      [{ index: 0, start: 0, end: 4 }],
      [{ index: 1, start: 4, end: 8 }],
      [{ index: 2, start: 8, end: 11 }],
    ],
    queryRank: 2,
  });
});

Deno.test("layOutBlocks() uses no more ranks than the context has tokens in ring", () => {
  for (const [contextTokens, ranks] of [[0, 1], [1, 1], [2, 2], [5, 4]] as const) {
    const layout = layOutBlocks(plan("ring", 0), { contextTokens, ranks: 4 });
    assertEquals(layout.blocksByRank.length, ranks);
    assertEquals(layout.queryRank, ranks - 1);
    assertEquals(
      layout.blocksByRank.reduce((sum, blocks) => sum + tokensIn(blocks), 0),
      contextTokens,
    );
  }
});
