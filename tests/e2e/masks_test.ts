/**
 * The tiles that a run says it took: as many as it counts, for each block, layer and head.
 *
 * @module
 */
import { maskBits } from "../../lib/attention/tile_masks.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { assert, assertAlmostEquals, assertEquals } from "../helpers/assert.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";

async function run(mode: "xattn" | "starx", processCount: number): Promise<GenerateResult> {
  await using engine = await openTiny({ plan: { ...STAR, mode }, processCount });
  const request = await goldenRequest({ task: "niah_multikey_1", tokensToGenerate: 1 });
  return await engine.generate({ ...request, withMasks: true });
}

for (const [mode, processCount] of [["xattn", 1], ["starx", 1], ["starx", 2]] as const) {
  Deno.test(`generate() returns the tiles that ${mode} took on ${processCount} processes`, async () => {
    const { masks, selectedTiles, headShares } = await run(mode, processCount);
    assert(masks.length > 0);
    const layers = headShares.length;
    const taken = new Map<string, number>();
    const heads = headShares.map((shares) => shares.map(() => 0));
    for (const mask of masks) {
      const bits = maskBits(mask);
      const key = `${mask.block} ${mask.layer}`;
      taken.set(key, (taken.get(key) ?? 0) + bits.reduce((sum, bit) => sum + bit, 0));
      const own = mask.rows * mask.width;
      for (let head = 0; head < mask.heads; head++) {
        const row = heads[mask.layer] ?? [];
        const sum = bits.subarray(head * own, (head + 1) * own).reduce((a, b) => a + b, 0);
        row[head] = (row[head] ?? 0) + sum;
      }
    }
    for (const [place, [some]] of selectedTiles.entries()) {
      assertEquals(taken.get(`${Math.floor(place / layers)} ${place % layers}`), some);
    }
    for (const [layer, shares] of headShares.entries()) {
      const causal = selectedTiles.filter((_, place) => place % layers === layer)
        .reduce((sum, [, all]) => sum + all, 0);
      for (const [head, share] of shares.entries()) {
        assertAlmostEquals(share, (heads[layer]?.[head] ?? 0) * shares.length / causal);
      }
    }
  });
}

Deno.test("generate() returns the same tiles whoever computes the blocks", async () => {
  const byPlace = (result: GenerateResult) =>
    [...result.masks].sort((a, b) =>
      a.block - b.block || a.layer - b.layer || a.firstRow - b.firstRow
    );
  assertEquals(byPlace(await run("starx", 2)), byPlace(await run("starx", 1)));
});
