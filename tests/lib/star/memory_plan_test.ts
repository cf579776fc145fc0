import type { AttentionMode, AttentionPlan } from "../../../lib/attention/plan.ts";
import type { LlamaConfig } from "../../../lib/model/config.ts";
import { transformerBytes } from "../../../lib/model/forward.ts";
import { MODEL_SHAPES } from "../../../lib/model/shapes.ts";
import { checkMemory, chunkTokensFor, memoryNeed } from "../../../lib/star/memory_plan.ts";
import { gpuOf } from "../../../lib/star/rank_device.ts";
import { DeviceError } from "../../../lib/errors.ts";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertThrows,
} from "../../helpers/assert.ts";

const GIB = 2 ** 30;
const GPU = { kind: "cuda", description: "cuda:0 Test" } as const;
const large = shapeOf("llama-3.1-8b");

function shapeOf(name: string): LlamaConfig {
  const config = MODEL_SHAPES[name];
  assert(config !== undefined);
  return config;
}

function plan(mode: AttentionMode, blockTokens = 0): AttentionPlan {
  const merge = "lse";
  return { mode, blockTokens, anchorTokens: blockTokens, stride: 16, threshold: 0.9, merge };
}

function question(mode: AttentionMode, sizes: { contextTokens: number; blockTokens?: number }) {
  return {
    config: large,
    dtype: "bf16",
    plan: plan(mode, sizes.blockTokens),
    ranks: 1,
    chunkTokens: 8192,
    contextTokens: sizes.contextTokens,
    room: 128,
  } as const;
}

Deno.test("memoryNeed() counts weights and cache of a known model", () => {
  const { weights, cache, working } = memoryNeed(GPU, question("dense", { contextTokens: 131072 }));
  // 8,030,261,248 weights; 32 layers of 8 key and 8 value heads of 128 per token.
  assertEquals(Math.round(weights / 2 / 1e6), 8030);
  assertEquals(Math.round(cache / (131072 + 128)), 2 * 2 * 32 * 8 * 128);
  assertLess(working, 3 * GIB);
});

Deno.test("memoryNeed() shares the cache among ranks and adds their anchors", () => {
  const base = question("star", { contextTokens: 65536, blockTokens: 16384 });
  const alone = memoryNeed(GPU, base);
  const shared = memoryNeed(GPU, { ...base, ranks: 4 });
  // Of four hosts each has one block; all but the first one have the anchor as well.
  const row = 2 * 2 * 32 * 8 * 128;
  assertEquals(alone.cache, (65536 + 128) * row);
  assertEquals(shared.cache, (2 * 16384 + 128) * row);
  // The anchor is sent: a layer of it lies packed, and two chunks run side by side.
  const chunk = transformerBytes(GPU, { config: large, dtype: "bf16", tokens: 8192 });
  assert(shared.working - alone.working >= chunk + 16384 * row / 32);
});

Deno.test("checkMemory() passes what fits, and where memory is the host's", () => {
  const fitting = question("dense", { contextTokens: 131072 });
  checkMemory(GPU, { question: fitting, freeBytes: 79 * GIB, loaded: false });
  checkMemory(GPU, { question: fitting, freeBytes: 24 * GIB, loaded: true });
  checkMemory(GPU, { question: fitting, freeBytes: undefined, loaded: false });
});

Deno.test("checkMemory() throws with the numbers and what would fit", () => {
  const freeBytes = 40 * GIB;
  const base = question("dense", { contextTokens: 524288 });
  const error = assertThrows(
    () => checkMemory(GPU, { question: base, freeBytes, loaded: false }),
    DeviceError,
    "Cannot run 524416 tokens on cuda:0 Test as ",
  );
  assertMatch(error.message, /weights 14\.96 GiB, keys and values 64\.02 GiB, working memory/);
  assertMatch(error.message, /current value is 40\.00 GiB; up to \d+ tokens fit$/);
  const [, tokens = "0"] = /up to (\d+) tokens/.exec(error.message) ?? [];
  const contextTokens = Number(tokens) - base.room;
  checkMemory(GPU, { question: { ...base, contextTokens }, freeBytes, loaded: false });
  assertThrows(() =>
    checkMemory(GPU, {
      question: { ...base, contextTokens: contextTokens + 128 },
      freeBytes,
      loaded: false,
    })
  );
});

Deno.test("checkMemory() names the block size that would fit", () => {
  const base = { ...question("star", { contextTokens: 262144, blockTokens: 131072 }), ranks: 2 };
  const error = assertThrows(
    () => checkMemory(GPU, { question: base, freeBytes: 40 * GIB, loaded: false }),
    DeviceError,
  );
  const [, block = "0"] = /this length with --block_size (\d+)$/.exec(error.message) ?? [];
  const blockTokens = Number(block);
  assert(blockTokens >= 128 && blockTokens < 131072);
  const fitting = { ...base, plan: plan("star", blockTokens) };
  checkMemory(GPU, { question: fitting, freeBytes: 40 * GIB, loaded: false });
});

Deno.test("chunkTokensFor() takes long chunks on a GPU, unless memory is short", () => {
  const of = (kind: "cpu" | "cuda", freeBytes: number | undefined) =>
    chunkTokensFor({ kind }, { config: large, dtype: "bf16", freeBytes });
  assertEquals(of("cpu", undefined), 512);
  assertEquals(of("cuda", 79 * GIB), 8192);
  assertEquals(of("cuda", 18 * GIB), 2048);
  assertEquals(of("cuda", 10 * GIB), 512);
});

Deno.test("gpuOf() deals GPUs evenly", () => {
  const dealt = (localSize: number, gpus: number) =>
    Array.from({ length: localSize }, (_, localRank) => gpuOf({ localRank, localSize }, gpus));
  assertEquals(dealt(4, 4), [0, 1, 2, 3]);
  assertEquals(dealt(4, 2), [0, 1, 0, 1]);
  assertEquals(dealt(2, 1), [0, 0]);
  assertEquals(dealt(2, 8), [0, 1]);
});
