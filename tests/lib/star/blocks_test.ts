import { type AttentionMode, type CheckedPlan, checkPlan } from "../../../lib/attention/plan.ts";
import { layOutBlocks, tokensIn } from "../../../lib/star/blocks.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";

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

Deno.test("layOutBlocks() gives a rank of a ring the pieces r and 2 H - 1 - r", () => {
  for (const mode of ["ring", "ringx"] as const) {
    // Eleven tiles, the last one of 20 tokens, in six pieces.
    const layout = layOutBlocks(plan(mode, 0), { contextTokens: 1300, ranks: 3 });
    assertEquals(layout, {
      anchorTokens: 0,
      blocksByRank: [
        [{ index: 0, start: 0, end: 256 }, { index: 5, start: 1280, end: 1300 }],
        [{ index: 1, start: 256, end: 512 }, { index: 4, start: 1024, end: 1280 }],
        [{ index: 2, start: 512, end: 768 }, { index: 3, start: 768, end: 1024 }],
      ],
      queryRank: 0,
    });
  }
  assertEquals(layOutBlocks(plan("ring", 0), { contextTokens: 1300, ranks: 1 }), {
    anchorTokens: 0,
    blocksByRank: [[{ index: 0, start: 0, end: 1300 }]],
    queryRank: 0,
  });
});

Deno.test("layOutBlocks() leaves out a ring's last pieces where a context is short", () => {
  const layout = layOutBlocks(plan("ring", 0), { contextTokens: 600, ranks: 4 });
  assertEquals(layout, {
    anchorTokens: 0,
    blocksByRank: [
      [{ index: 0, start: 0, end: 128 }],
      [{ index: 1, start: 128, end: 256 }],
      [{ index: 2, start: 256, end: 384 }],
      [{ index: 3, start: 384, end: 512 }, { index: 4, start: 512, end: 600 }],
    ],
    queryRank: 3,
  });
  for (const [contextTokens, ranks] of [[0, 1], [1, 1], [129, 2], [640, 4]] as const) {
    const layout = layOutBlocks(plan("ring", 0), { contextTokens, ranks: 4 });
    assertEquals(layout.blocksByRank.length, ranks);
    assertEquals(layout.blocksByRank[layout.queryRank]?.at(-1)?.end, contextTokens);
  }
});

Deno.test("layOutBlocks() splits no tile and loses no token between the pieces of a ring", () => {
  for (let contextTokens = 1; contextTokens < 6000; contextTokens += 191) {
    for (const ranks of [1, 2, 3, 4, 5, 8]) {
      const { blocksByRank } = layOutBlocks(plan("ring", 0), { contextTokens, ranks });
      const pieces = blocksByRank.flat().sort((a, b) => a.start - b.start);
      assertEquals(pieces.map(({ start }) => start % 128), pieces.map(() => 0));
      assertEquals(pieces.map(({ end }) => end), [
        ...pieces.slice(1).map(({ start }) => start),
        contextTokens,
      ]);
      const tiles = blocksByRank.map((blocks) => Math.ceil(tokensIn(blocks) / 128));
      const spread = Math.max(...tiles) - Math.min(...tiles);
      assert(spread <= 1, `${contextTokens} tokens, ${ranks} ranks: ${tiles}`);
    }
  }
});
