import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { stagesOn } from "../../../lib/device/stages.ts";
import { KvArena } from "../../../lib/model/kv_cache.ts";
import { cacheBytes } from "../../../lib/model/layer_cache.ts";
import { PAGE_TOKENS, PageAllocator, pagesFor } from "../../../lib/model/kv_pages.ts";
import { layerPools, poolNumbers } from "../../../lib/model/model_shape.ts";
import { KvPools, poolBytes } from "../../../lib/model/kv_pools.ts";
import { MIXED_WINDOWS } from "../../helpers/kept_tokens.ts";
import { assert, assertEquals, assertThrows } from "../../helpers/assert.ts";
import { Random } from "../../helpers/random.ts";

Deno.test("pagesFor() fills pages of 128 tokens, and takes one for none", () => {
  assertEquals([0, 1, 128, 129].map(pagesFor), [1, 1, 1, 2]);
});

Deno.test("PageAllocator takes the first run that is long enough", () => {
  const pages = new PageAllocator(10);
  assertEquals(pages.take(3), { first: 0, count: 3 });
  assertEquals(pages.take(2), { first: 3, count: 2 });
  assertEquals(pages.take(4), { first: 5, count: 4 });
  pages.give({ first: 0, count: 3 });
  pages.give({ first: 5, count: 4 });
  // Pages 0 to 2 and, with the one that was never taken, 5 to 9.
  assertEquals(pages.take(4), { first: 5, count: 4 });
  assertEquals(pages.take(4), undefined);
  assertEquals([pages.freeCount, pages.missing(3), pages.missing(4)], [4, 0, 3]);
});

Deno.test("PageAllocator joins free neighbours on both sides", () => {
  const pages = new PageAllocator(6);
  const runs = [1, 2, 3].map((count) => pages.take(count));
  assertEquals(runs.at(-1), { first: 3, count: 3 });
  for (const index of [0, 2, 1]) {
    const run = runs[index];
    assert(run !== undefined);
    pages.give(run);
  }
  assertEquals(pages.take(6), { first: 0, count: 6 });
  pages.grow(2);
  assertEquals(pages.take(2), { first: 6, count: 2 });
});

Deno.test("PageAllocator refuses pages that are free already or were never there", () => {
  const pages = new PageAllocator(4);
  pages.take(4);
  pages.give({ first: 1, count: 2 });
  for (const first of [0, 1, 2, 3]) {
    assertThrows(() => pages.give({ first, count: 2 }), Error, "only pages that are taken");
  }
});

Deno.test("PageAllocator never deals out a page twice, whatever is taken and given (seed 3)", () => {
  const pages = new PageAllocator(64);
  const random = new Random(3);
  const taken = new Map<number, number>();
  const owner = new Array<number>(64).fill(-1);
  for (let round = 0; round < 2000; round++) {
    const count = 1 + random.below(9);
    const run = random.unit() < 0.5 ? pages.take(count) : undefined;
    if (run !== undefined) {
      for (let page = run.first; page < run.first + count; page++) {
        assertEquals(owner[page], -1);
        owner[page] = run.first;
      }
      taken.set(run.first, count);
    }
    const [oldest] = taken;
    if (run === undefined && oldest !== undefined) {
      const [first, length] = oldest;
      taken.delete(first);
      owner.fill(-1, first, first + length);
      pages.give({ first, count: length });
    }
    assertEquals(pages.freeCount, owner.filter((page) => page < 0).length);
  }
});

Deno.test("KvArena grows with what is in it, and gives everything back", async () => {
  using device = await openCpuDevice({ threads: 1 });
  const stages = stagesOn([device], { layerCount: 2 });
  const sizes = { kvHeads: 2, headDim: 64, dtype: "f32" } as const;
  {
    using arena = new KvArena(stages, sizes);
    using first = await arena.reserve(100);
    assertEquals([first.first, first.capacity, arena.version], [0, PAGE_TOKENS, 1]);
    const { keys } = arena.layer(1);
    await keys.writeFrom(new Float32Array(keys.size).map((_, i) => i));
    using second = await arena.reserve(200);
    assertEquals([second.first, second.capacity, arena.version], [128, 256, 2]);
    const [head] = [arena.layer(1).keys.rows(1, 1).reshape([384, 64])];
    // Head 1 began behind 128 rows, and begins behind 384 now.
    assertEquals((await head.rows(0, 1).toFloats())[0], 128 * 64);
    const segment = second.segment(1, { start: 3, tokens: 10 });
    assertEquals([segment.start, segment.tokens], [131, 10]);
    second[Symbol.dispose]();
    assertEquals(arena.freeTokens, 256);
    assertEquals(arena.growthFor([256]), { tokens: 0, moved: 0 });
    assertEquals(arena.growthFor([300]), { tokens: 128, moved: 384 });
    // The second takes what is left of the free pages, and what the first one has grown is there.
    assertEquals(arena.growthFor([128, 256]), { tokens: 128, moved: 384 });
    assertEquals(arena.growthFor([300, 128]), { tokens: 256, moved: 512 });
    first[Symbol.dispose]();
    assertEquals(arena.growthFor([500]), { tokens: 128, moved: 0 });
    const bytes = cacheBytes({ ...sizes, layers: 2, tokens: 384 });
    assertEquals(bytes, 2 * 2 * 2 * 384 * 64 * 4);
  }
  assertEquals(device.liveAllocations, 0);
});

Deno.test("KvArena grows with the means of its pages", async () => {
  using device = await openCpuDevice({ threads: 1 });
  const stages = stagesOn([device], { layerCount: 1 });
  const sizes = { kvHeads: 2, headDim: 64, dtype: "f32", hasMeans: true } as const;
  using arena = new KvArena(stages, sizes);
  using before = await arena.reserve(128);
  using first = await arena.reserve(256);
  const { keys } = first.means(0, 2);
  await keys.writeFrom(new Float32Array(keys.size).map((_, i) => i));
  const { spread, codes } = first.means(0, 2);
  await spread.writeFrom(new Float32Array(spread.size).map((_, i) => i));
  await codes.writeFrom(new Int32Array(codes.size).map((_, i) => i));
  using second = await arena.reserve(500);
  assertEquals([before.first, first.first, second.first], [0, 128, 384]);
  const means = first.means(0, 2);
  assertEquals([means.start, means.tokens, means.keys.shape], [1, 2, [2, 7, 64]]);
  // Head 1 began behind 3 means, and begins behind 7 now; the new pages have zeros.
  const all = await means.keys.toFloats();
  assertEquals([all[64], all[7 * 64], all[8 * 64], all[3 * 64]], [64, 3 * 64, 4 * 64, 0]);
  const spreads = await means.spread.toFloats();
  assertEquals([spreads[64], spreads[7 * 64], spreads[3 * 64]], [64, 3 * 64, 0]);
  // A key of 64 numbers has 4 words.
  const words = await means.codes.toInts();
  assertEquals(means.codes.shape, [2, 7 * 128, 4]);
  assertEquals([words[9], words[7 * 512], words[3 * 512]], [9, 3 * 512, 0]);
  const plain = cacheBytes({ ...sizes, hasMeans: false, layers: 3, tokens: 500 });
  const bytes = cacheBytes({ ...sizes, layers: 3, tokens: 500 });
  // Three rows of a page's 2 * 128 rows of f32, and 2 bits of each number of its keys.
  assertEquals(bytes - plain, plain * 3 / 256 + plain / 32);
});

Deno.test("KvRun.dropBefore() moves what is kept to the front, in pieces that do not overlap", async () => {
  using device = await openCpuDevice({ threads: 1 });
  const stages = stagesOn([device], { layerCount: 1 });
  using arena = new KvArena(stages, { kvHeads: 2, headDim: 64, dtype: "f32" });
  using before = await arena.reserve(128);
  using run = await arena.reserve(640);
  const { keys } = arena.layer(0);
  // Each row says its token, in both heads.
  const tokenOf = (row: number) => row - run.first;
  const all = new Float32Array(keys.size).map((_, i) => tokenOf(Math.floor(i / 64) % 768));
  await keys.writeFrom(all);
  const firsts = async (token: number, count: number) => {
    const { start, absent } = run.segment(0, { start: token, tokens: count });
    const rows = await keys.rows(1, 1).reshape([768, 64]).rows(start, count).toFloats();
    return [absent, rows[0], rows[64 * (count - 1)]];
  };
  await run.dropBefore(128, { end: 600 });
  assertEquals([run.dropped, run.origin, run.hasRoom(768), run.hasRoom(769)], [
    128,
    0,
    true,
    false,
  ]);
  assertEquals(await firsts(128, 472), [0, 128, 599]);
  await run.dropBefore(100, { end: 600 });
  assertEquals(run.dropped, 128, "what is gone does not come back");
  await run.dropBefore(384, { end: 600 });
  assertEquals(await firsts(384, 216), [0, 384, 599]);
  assertEquals((await keys.toFloats()).slice(0, 64), all.slice(0, 64), "another sequence's rows");
  const gone = run.segment(0, { start: 0, tokens: 300 });
  assertEquals([gone.start, gone.absent, before.first], [-256, 300, 0]);
});

Deno.test("KvPools keeps layers by their windows, and counts their bytes", async () => {
  const config = MIXED_WINDOWS;
  assertEquals(layerPools(config), [
    { window: 0, layers: [1] },
    { window: 150, layers: [0, 3] },
    { window: 300, layers: [2] },
  ]);
  assertEquals([0, 1, 2, 3].map(poolNumbers(config)), [1, 0, 2, 1]);
  using device = await openCpuDevice({ threads: 1 });
  const { kvHeads, headDim } = config;
  using pools = new KvPools(stagesOn([device], config), {
    ...{ config, kvHeads, headDim, dtype: "bf16" },
  });
  using rows = await pools.reserve([1000, 512, 640], { reaches: [Infinity, 200, 300] });
  const perToken = 2 * kvHeads * headDim * 2;
  const expected = perToken * (1024 + 2 * 512 + 640);
  assertEquals(poolBytes(config, { tokens: [1000, 512, 640], dtype: "bf16" }), expected);
  assertEquals(device.peakBytes, expected);
  assertEquals(pools.capacity, [1024, 512, 640]);
  // 200 and 300 tokens before the next one are kept, from a page's first one on.
  const dropped = () => [0, 1, 2].map((layer) => rows.runOf(layer).dropped);
  await rows.makeRoom({ from: 512, end: 600 });
  assertEquals(dropped(), [256, 0, 0]);
  await rows.makeRoom({ from: 600, end: 700 });
  assertEquals(dropped(), [256, 0, 256]);
  assertEquals([rows.firstFor(0, 1000), rows.firstFor(1, 1000), rows.firstFor(2, 1000)], [
    ...[768, 0, 640],
  ]);
});
