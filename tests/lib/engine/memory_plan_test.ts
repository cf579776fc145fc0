import { DEVICE_TRAITS } from "../../../lib/device/device.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { type AttentionMode, type CheckedPlan, checkPlan } from "../../../lib/attention/plan.ts";
import type { ModelShape } from "../../../lib/model/model_shape.ts";
import { transformerBytes } from "../../../lib/model/forward.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import { checkMemory, fitsOn } from "../../../lib/engine/memory_check.ts";
import {
  chunkTokensFor,
  type MemoryNeed,
  memoryNeeds,
  type MemoryQuestion,
} from "../../../lib/engine/memory_plan.ts";
import { dealGpus, gpusOf } from "../../../lib/engine/rank_device.ts";
import { DeviceError } from "../../../lib/errors.ts";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertThrows,
} from "../../helpers/assert.ts";

const GIB = 2 ** 30;
const GPU = { ...DEVICE_TRAITS.cuda, description: "cuda:0 Test" } as const;
const large = shapeOf("llama-3.1-8b");

function shapeOf(name: string): ModelShape {
  const config = modelShape(name);
  assert(config !== undefined);
  return config;
}

function plan(mode: AttentionMode, blockTokens = 0): CheckedPlan {
  return checkPlan({ mode, blockTokens, threshold: 0.9 });
}

function question(mode: AttentionMode, sizes: { contextTokens: number; blockTokens?: number }) {
  return {
    config: large,
    precision: PRECISIONS.bf16,
    plan: plan(mode, sizes.blockTokens),
    ranks: 1,
    chunkTokens: 8192,
    contextTokens: sizes.contextTokens,
    room: 128,
  } as const;
}

/** Of a rank with one GPU. */
function needOf(asked: MemoryQuestion): MemoryNeed {
  const [need] = memoryNeeds(GPU, asked);
  assert(need !== undefined);
  return need;
}

Deno.test("memoryNeeds() counts weights and cache of a known model", () => {
  const { weights, cache, working } = needOf(question("dense", { contextTokens: 131072 }));
  // 8,030,261,248 weights; 32 layers of 8 key and 8 value heads of 128 per token.
  assertEquals(Math.round(weights / 2 / 1e6), 8030);
  assertEquals(Math.round(cache / (131072 + 128)), 2 * 2 * 32 * 8 * 128);
  assertLess(working, 3 * GIB);
});

Deno.test("memoryNeeds() counts the means of tiles that are not selected", () => {
  for (const mode of ["xattn", "starx", "ringx"] as const) {
    const asked = question(mode, { contextTokens: 131072, blockTokens: 16384 });
    const chunk = mode === "ringx" ? 512 : asked.chunkTokens;
    const { threshold = 0 } = asked.plan.selection ?? {};
    const sizes = { mode, blockTokens: 16384, threshold };
    const means = needOf({ ...asked, plan: checkPlan({ ...sizes, rest: "mean" }) });
    const keyTokens = mode === "starx" ? 2 * 16384 : 131072;
    // Chunks of a sequence keep them for each other, in each of 32 layers; a ring has one chunk.
    const ofTiles = 2 * 2 * 8 * 128 * keyTokens / 128 * (mode === "ringx" ? 1 : 32);
    // Of a chunk the log-sum-exps and the output in f32, with 32 heads of 128.
    const ofChunk = 4 * chunk * 32 * (128 + 1);
    assertEquals(means.working - needOf(asked).working, ofTiles + ofChunk, mode);
    assertEquals(means.cache, needOf(asked).cache);
  }
});

Deno.test("memoryNeeds() counts of layers with windows what they keep", () => {
  const layers = large.layers.map((layer) => ({ ...layer, window: 4096 }));
  const half = layers.map((layer, i) => i % 2 === 0 ? layer : large.layers[i] ?? layer);
  const row = 2 * 2 * 8 * 128;
  const needs = (mode: AttentionMode, options: Partial<MemoryQuestion> = {}) => {
    const sizes = question(mode, { contextTokens: 131072, blockTokens: 16384 });
    return needOf({ ...sizes, config: { ...large, layers }, ...options }).cache / row;
  };
  // A window, a tile that is read with it, a chunk, and what goes and comes in whole pages.
  const kept = 4096 + 128 + 8192 + 256;
  const all = 131072 + 128;
  assertEquals(needs("dense"), 32 * kept);
  assertEquals(needs("dense", { config: { ...large, layers: half } }), 16 * (kept + all));
  assertEquals(needs("star"), 32 * kept);
  // The score of a selection reads 128 groups of 16 tokens with it.
  assertEquals(needs("xattn"), 32 * (kept + 128 * 16));
  // What is asked again keeps the context's end, and all of query and answer.
  const room = 16384;
  assertEquals(needs("dense", { room }), 32 * (kept - 8192 + room));
  assertEquals(needs("dense", { room, isAskedOnce: true }), 32 * kept);
  // A short context is kept as a whole.
  assertEquals(needs("dense", { contextTokens: 4096 }), 32 * (4096 + 128));
  // Of a ring's two ranks the first has the first quarter and the last, which the query follows.
  assertEquals(needs("ring", { ranks: 2 }), 32 * kept);
  const { working } = needOf({ ...question("ring", { contextTokens: 131072 }), ranks: 2 });
  const config = { ...large, layers };
  const shared = needOf({ ...question("ring", { contextTokens: 131072 }), config, ranks: 2 });
  assertEquals(shared.working - working, 65536 * row, "one layer's keys while it is computed");
});

Deno.test("memoryNeeds() shares the cache among ranks and adds their anchors", () => {
  const base = question("star", { contextTokens: 65536, blockTokens: 16384 });
  const alone = needOf(base);
  const shared = needOf({ ...base, ranks: 4 });
  // Of four ranks each has one block; all but the first one have the anchor as well.
  const row = 2 * 2 * 32 * 8 * 128;
  assertEquals(alone.cache, (65536 + 128) * row);
  assertEquals(shared.cache, (2 * 16384 + 128) * row);
  // The anchor is sent: a layer of it lies packed, and two chunks run side by side.
  const chunk = transformerBytes(GPU, { config: large, precision: PRECISIONS.bf16, tokens: 8192 });
  assert(shared.working - alone.working >= chunk + 16384 * row / 32);
});

Deno.test("checkMemory() passes what fits, and where memory is the host's", () => {
  const fitting = question("dense", { contextTokens: 131072 });
  checkMemory([GPU], { question: fitting, freeBytes: [79 * GIB], loaded: false });
  checkMemory([GPU], { question: fitting, freeBytes: [24 * GIB], loaded: true });
  checkMemory([GPU], { question: fitting, freeBytes: undefined, loaded: false });
});

Deno.test("checkMemory() throws with the numbers and what would fit", () => {
  const freeBytes = [40 * GIB];
  const base = question("dense", { contextTokens: 524288 });
  const error = assertThrows(
    () => checkMemory([GPU], { question: base, freeBytes, loaded: false }),
    DeviceError,
    "Cannot run 524416 tokens on cuda:0 Test as ",
  );
  assertMatch(error.message, /weights 14\.96 GiB, keys and values 64\.02 GiB, working memory/);
  assertMatch(error.message, /current value is 40\.00 GiB; up to \d+ tokens fit$/);
  const [, tokens = "0"] = /up to (\d+) tokens/.exec(error.message) ?? [];
  const contextTokens = Number(tokens) - base.room;
  checkMemory([GPU], { question: { ...base, contextTokens }, freeBytes, loaded: false });
  assertThrows(() =>
    checkMemory([GPU], {
      question: { ...base, contextTokens: contextTokens + 128 },
      freeBytes,
      loaded: false,
    })
  );
});

Deno.test("checkMemory() names the block size that would fit", () => {
  const base = { ...question("star", { contextTokens: 262144, blockTokens: 131072 }), ranks: 2 };
  const error = assertThrows(
    () => checkMemory([GPU], { question: base, freeBytes: [40 * GIB], loaded: false }),
    DeviceError,
  );
  const [, block = "0"] = /this length with 'blockTokens' (\d+)$/.exec(error.message) ?? [];
  const blockTokens = Number(block);
  assert(blockTokens >= 128 && blockTokens < 131072);
  const fitting = { ...base, plan: plan("star", blockTokens) };
  checkMemory([GPU], { question: fitting, freeBytes: [40 * GIB], loaded: false });
});

Deno.test("chunkTokensFor() takes long chunks on a GPU, unless memory is short", () => {
  const of = (kind: "cpu" | "cuda", ...free: readonly number[]) =>
    chunkTokensFor(DEVICE_TRAITS[kind], {
      config: large,
      precision: PRECISIONS.bf16,
      freeBytes: free.length === 0 ? undefined : free,
    });
  assertEquals(of("cpu"), 512);
  assertEquals(of("cuda", 79 * GIB), 8192);
  assertEquals(of("cuda", 18 * GIB), 4096);
  assertEquals(of("cuda", 10 * GIB), 512);
  // Half of the weights each: the fuller one decides.
  assertEquals(of("cuda", 18 * GIB, 18 * GIB), 8192);
  assertEquals(of("cuda", 18 * GIB, 9 * GIB), 2048);
});

Deno.test("memoryNeeds() shares weights and cache among the GPUs of a rank", () => {
  const base = question("dense", { contextTokens: 131072 });
  const alone = needOf(base);
  const both = memoryNeeds(GPU, { ...base, gpuCount: 2 });
  assertEquals(both.length, 2);
  assertEquals(both.map(({ weights }) => weights).reduce((a, b) => a + b), alone.weights);
  for (const { cache, working } of both) {
    assertEquals([2 * cache, working], [alone.cache, alone.working]);
  }
  // The head of a model whose embedding is tied lies on the last GPU, too.
  const tied = { ...base, config: { ...large, head: large.embedding } };
  const table = 2 * large.vocabularySize * large.hiddenSize;
  const parts = memoryNeeds(GPU, { ...tied, gpuCount: 2 }).map(({ weights }) => weights);
  assertEquals(parts.reduce((a, b) => a + b), needOf(tied).weights + table);
});

Deno.test("checkMemory() names the GPU that is too small, and what more could be used", () => {
  const other = { ...DEVICE_TRAITS.cuda, description: "cuda:1 Test" } as const;
  const asked = question("dense", { contextTokens: 131072 });
  const check = { question: asked, freeBytes: [40 * GIB, 15 * GIB], loaded: false };
  const error = assertThrows(() => checkMemory([GPU, other], check), DeviceError);
  assertMatch(error.message, /^Cannot run 131200 tokens on cuda:0 Test and cuda:1 Test as /);
  assertMatch(error.message, /of the memory of cuda:1 Test must be free .* is 15\.00 GiB; up to/);
  const tight = { question: asked, freeBytes: [20 * GIB], loaded: false, dealtGpus: 2 };
  const alone = assertThrows(() => checkMemory([GPU], tight), DeviceError);
  assertMatch(alone.message, /; 'gpusPerRank' spreads the layers over up to 2 GPUs$/);
});

Deno.test("fitsOn() takes more GPUs for what one cannot hold", () => {
  const { chunkTokens: _, ...asked } = question("dense", { contextTokens: 524288 });
  const free = (count: number) => new Array<number>(count).fill(79 * GIB);
  const fits = (count: number) =>
    fitsOn(free(count).map(() => GPU), { question: asked, freeBytes: free(count) });
  assertEquals([1, 2, 4].map(fits), [false, true, true]);
});

Deno.test("gpusOf() deals GPUs evenly, and one to several where they are few", () => {
  const dealt = (count: number, gpus: number) =>
    Array.from({ length: count }, (_, index) => gpusOf({ index, count }, gpus));
  assertEquals(dealt(4, 4), [[0], [1], [2], [3]]);
  assertEquals(dealt(4, 2), [[0], [1], [0], [1]]);
  assertEquals(dealt(2, 1), [[0], [0]]);
  assertEquals(dealt(4, 8), [[0, 1], [2, 3], [4, 5], [6, 7]]);
  assertEquals(dealt(1, 2), [[0, 1]]);
  assertEquals(dealt(2, 7), [[0, 1, 2], [3, 4, 5]]);
});

Deno.test("dealGpus() shares among those who see the same GPUs", () => {
  // One machine, where all see all.
  assertEquals(dealGpus([["a", "b"], ["a", "b"]]), [[0], [1]]);
  // Two machines with two GPUs and two processes each.
  const [first, second] = [["a", "b"], ["c", "d"]] as const;
  assertEquals(dealGpus([first, first, second, second]), [[0], [1], [0], [1]]);
  // Somebody has dealt them already: what a process sees is its own.
  assertEquals(dealGpus([first, second]), [[0, 1], [0, 1]]);
  assertEquals(dealGpus([["a"], ["b"], ["a"]]), [[0], [0], [0]]);
});

Deno.test("memoryNeeds() counts the means of keys that are chosen in phase 2, and the lists", () => {
  const asked = question("dense", { contextTokens: 131072 - 128 });
  const all = needOf(asked);
  const kept = needOf({ ...asked, plan: checkPlan({ decodeKeep: 0.5 }) });
  // For each page of 128 tokens a mean key, a mean value and the keys' spread; 2 bits a number of bf16.
  assertEquals(kept.cache - all.cache, all.cache * 3 / 256 + all.cache / 16);
  // 8 bytes a tile for each key head, of the batch's one sequence and of 8 pieces of the query.
  assertEquals(kept.working - all.working, 8 * 9 * 8 * (1024 + 1));
});
