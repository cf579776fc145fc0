/**
 * Mode ring computes what dense does and ringx what xattn does, on any number of ranks.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { QUERY_TOKENS } from "../../lib/attention/ring_pieces.ts";
import type { GenerateRequest, GenerateResult } from "../../lib/star/request.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { goldenRequest, openTiny } from "../helpers/prompts.ts";

const RING: PlanOptions = { mode: "ring" };
const DENSE: PlanOptions = { mode: "dense" };
const SELECTION = { stride: 8, threshold: 0.8 };
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
      const pieces = processCount === 1 ? 1 : 2;
      assertEquals(found.ranks.map(({ blocks }) => blocks), Array(processCount).fill(pieces));
    }
  });
}

/** [context tokens, tokens of each of three ranks]. */
const SHORT: readonly (readonly [number, readonly number[]])[] = [
  [2, [2, 0, 0]],
  [200, [128, 72, 0]],
  [400, [128, 128, 144]],
  [530, [128, 146, 256]],
];

for (const plan of [RING, { mode: "ringx", threshold: 1 }] as const) {
  Deno.test(`generate() in ${plan.mode} leaves ranks idle where a context is short`, async () => {
    const request = await goldenRequest({ task: "niah_single_3", tokensToGenerate: 4 });
    await using dense = await openTiny({ plan: DENSE, processCount: 1, dtype: "f32" });
    await using ring = await openTiny({ plan, processCount: 3, dtype: "f32" });
    for (const [tokens, blockTokens] of SHORT) {
      const short = { ...request, contextIds: request.contextIds.slice(0, tokens) };
      const expected = await dense.generate(short);
      const found = await ring.generate(short);
      assertEquals(found.ids, expected.ids, `${tokens} tokens`);
      assertSameLogits(found, expected);
      assertEquals(found.ranks.map((rank) => rank.blockTokens), blockTokens);
    }
  });
}

Deno.test("generate() in ringx gives xattn's ids and tiles on 1 to 4 ranks", async () => {
  const request = await goldenRequest({ task: "niah_multikey_2" });
  const xattn: PlanOptions = { mode: "xattn", ...SELECTION };
  const expected = await run(request, { plan: xattn, processCount: 1, dtype: "f32" });
  const share = density(expected);
  assert(share < 0.9, `the selection must leave tiles out: its share is ${share}`);
  for (const processCount of [1, 2, 3, 4]) {
    const plan: PlanOptions = { mode: "ringx", ...SELECTION };
    const found = await run(request, { plan, processCount, dtype: "f32" });
    assertEquals(found.ids, expected.ids, `with ${processCount} ranks`);
    assertSameLogits(found, expected);
    assertEquals(tilesPerLayer(found), tilesPerLayer(expected), `with ${processCount} ranks`);
  }
});

Deno.test("generate() in ringx with threshold 1 gives ring's ids and takes every tile", async () => {
  const request = await goldenRequest({ task: "niah_single_3" });
  const plan: PlanOptions = { mode: "ringx", threshold: 1 };
  for (const processCount of [1, 3]) {
    const expected = await run(request, { plan: RING, processCount, dtype: "f32" });
    const found = await run(request, { plan, processCount, dtype: "f32" });
    assertEquals(found.ids, expected.ids, `with ${processCount} ranks`);
    assertSameLogits(found, expected);
    assertEquals(density(found), 1);
  }
});

Deno.test("generate() in ringx gives each rank as many causal tiles where pieces are equal", async () => {
  const request = await goldenRequest({ task: "niah_multikey_2", tokensToGenerate: 1 });
  const even = { ...request, contextIds: request.contextIds.slice(0, 1536) };
  for (const processCount of [2, 3]) {
    const plan: PlanOptions = { mode: "ringx", threshold: 0.5 };
    const { ranks } = await run(even, { plan, processCount, dtype: "bf16" });
    const [first = NaN] = ranks.map(({ causalTiles }) => causalTiles);
    assertEquals(ranks.map(({ causalTiles }) => causalTiles), ranks.map(() => first));
    assert(ranks.every(({ selectedTiles }) => selectedTiles > 0 && selectedTiles < first));
  }
});

Deno.test("generate() in the ring's modes gives the same where pieces have several chunks", async () => {
  const request = await goldenRequest({ task: "niah_multikey_2", repeat: 2, tokensToGenerate: 6 });
  const processCount = 2;
  const pieceTokens = request.contextIds.length / (2 * processCount);
  assert(pieceTokens > QUERY_TOKENS && pieceTokens % QUERY_TOKENS !== 0);
  const exact = await run(request, { plan: DENSE, processCount: 1, dtype: "f32" });
  const ring = await run(request, { plan: RING, processCount, dtype: "f32" });
  assertEquals(ring.ids, exact.ids);
  assertSameLogits(ring, exact);
  const alone: PlanOptions = { mode: "xattn", ...SELECTION };
  const selected = await run(request, { plan: alone, processCount: 1, dtype: "f32" });
  const plan: PlanOptions = { mode: "ringx", ...SELECTION };
  const found = await run(request, { plan, processCount, dtype: "f32" });
  assertEquals(found.ids, selected.ids);
  assertSameLogits(found, selected);
  assertEquals(tilesPerLayer(found), tilesPerLayer(selected));
});

/** [taken, causal] of each layer, over all parts. */
function tilesPerLayer(result: GenerateResult): number[][] {
  const { selectedTiles, ranks } = result;
  const parts = ranks.filter(({ blocks }) => blocks > 0).length;
  const layers = selectedTiles.length / parts;
  return Array.from({ length: layers }, (_, layer) => {
    const own = selectedTiles.filter((_, i) => i % layers === layer);
    return [0, 1].map((at) => own.reduce((sum, tiles) => sum + (tiles[at] ?? 0), 0));
  });
}

function density(result: GenerateResult): number {
  const sum = (at: 0 | 1) => result.selectedTiles.reduce((all, tiles) => all + tiles[at], 0);
  return sum(0) / sum(1);
}

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
