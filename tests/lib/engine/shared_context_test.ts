import { loadModel, type Model } from "../../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../../lib/engine/model_options.ts";
import { SharedContext } from "../../../lib/engine/shared_context.ts";
import type { RopeLengths, RopeShape } from "../../../lib/model/rope_frequencies.ts";
import type { EncodedContext } from "../../../lib/star/encode.ts";
import { DeviceError } from "../../../lib/errors.ts";
import { assert, assertEquals, assertRejects } from "../../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { goldenEntries } from "../../helpers/golden.ts";
import { goldenRequest, MODEL, openTiny } from "../../helpers/prompts.ts";

/** What is asked, with the number of the context it is about; the second query is a long one. */
const ASKED = [0, 0, 0, 1, 1, 0, 2] as const;

async function prompts(): Promise<{ context: string; query: string }[]> {
  const entries = await goldenEntries();
  const contexts = [0, 1, 2].map((i) => entries[i]?.context.slice(0, 1200 + 300 * i) ?? "");
  return ASKED.map((number, i) => ({
    context: `${contexts[number]}\n`,
    query: `${i === 1 ? "Look at it again and again. ".repeat(110) : ""}Question ${i}: what is it?`,
  }));
}

/** Answers and how many prompts' contexts were encoded, over all ranks. */
async function ask(
  model: Model,
  options: { keeps: boolean },
): Promise<{ found: unknown[]; encodings: number }> {
  const all = await prompts();
  const generations = await Promise.all(all.map((prompt, i) => {
    const keepContext = options.keeps && ASKED[i] === ASKED[i + 1];
    return model.generate(prompt, { tokensToGenerate: 6, topLogits: 3, keepContext });
  }));
  return {
    found: generations.map(({ ids, topLogits, result: { selectedTiles } }) => ({
      ids,
      topLogits,
      selectedTiles,
    })),
    encodings: generations.filter(({ result: { ranks } }) => ranks.some(({ blocks }) => blocks > 0))
      .length,
  };
}

const CASES: readonly (readonly [name: string, options: LoadOptions])[] = [
  ["dense", { mode: "dense" }],
  ["dense in a batch", { mode: "dense", batchSize: 4 }],
  ["xattn in a batch", { mode: "xattn", batchSize: 3 }],
  ["starx on 2 processes", { mode: "starx", blockTokens: 256, processCount: 2 }],
  ["star on 2 processes in a batch", {
    ...{ mode: "star", blockTokens: 256, anchorTokens: 128, processCount: 2, batchSize: 3 },
  }],
  ["star by StarXAttention's weights", {
    ...{ mode: "star", blockTokens: 256, processCount: 2, batchSize: 2, merge: "antidiagonal" },
  }],
  ["ring on 2 processes in a batch", { mode: "ring", processCount: 2, batchSize: 2 }],
  ["2 replicas", { mode: "dense", replicas: 2, batchSize: 2 }],
];

for (const [name, options] of CASES) {
  Deno.test(`a context that is kept is encoded once, and changes no bit: ${name}`, async () => {
    await using model = await loadModel(MODEL, { ...options, device: "cpu", threads: 1 });
    const fresh = await ask(model, { keeps: false });
    const kept = await ask(model, { keeps: true });
    assertEquals(kept.found, fresh.found);
    // The first context comes again when it is not kept any more.
    assertEquals([fresh.encodings, kept.encodings], [7, 4]);
    // Nothing of it is left: as many are encoded as the first time.
    assertEquals((await ask(model, { keeps: true })).encodings, 4);
  });
}

const gpuFolder = await buildFakeGpu();

Deno.test({
  name: "a context that is kept is encoded once, and changes no bit: on a fake GPU in a batch",
  ignore: gpuFolder === undefined,
  fn: async () => {
    await withFakeGpu(gpuFolder, async () => {
      const plan = { mode: "starx", blockTokens: 256 } as const;
      await using model = await loadModel(MODEL, { ...plan, device: "cuda", batchSize: 3 });
      const fresh = await ask(model, { keeps: false });
      const kept = await ask(model, { keeps: true });
      assertEquals(kept.found, fresh.found);
      assertEquals([fresh.encodings, kept.encodings], [7, 4]);
    });
  },
});

Deno.test("a context that is kept outlives a prompt that is cancelled or cannot be run", async () => {
  await using model = await loadModel(MODEL, { mode: "dense", device: "cpu", threads: 1 });
  const [{ context = "", query = "" } = {}] = await prompts();
  const options = { tokensToGenerate: 4, keepContext: true };
  const expected = await model.generate({ context, query }, { tokensToGenerate: 4 });
  await model.generate({ context, query }, options);
  const ending = new AbortController();
  const cancelled = model.generate({ context, query }, {
    ...{ ...options, tokensToGenerate: 5000, signal: ending.signal },
    onProgress: ({ generatedTokens }) => generatedTokens > 2 && ending.abort(new Error("enough")),
  });
  assert((await cancelled.catch((error) => error)) instanceof Error);
  const { ids, result } = await model.generate({ context, query }, options);
  assertEquals(ids, expected.ids);
  assertEquals(result.ranks.map(({ blocks }) => blocks), [0]);
});

Deno.test("a context that is kept gives way where memory is short", async () => {
  await using engine = await openTiny({ plan: { mode: "dense" }, processCount: 1 });
  const request = { ...await goldenRequest({ task: "vt" }), keepContext: true };
  const encodings = async () => (await engine.generate(request)).ranks.map(({ blocks }) => blocks);
  assertEquals([await encodings(), await encodings()], [[1], [0]]);
  const huge = { ...request, contextIds: request.contextIds.subarray(1), tokensToGenerate: 2e12 };
  await assertRejects(() => engine.generate(huge), DeviceError);
  assertEquals(await encodings(), [1]);
});

function encodedWith(lengths: RopeLengths): EncodedContext {
  return { sequence: { lengths } } as unknown as EncodedContext;
}

Deno.test("SharedContext.find() takes no keys that another length would rotate otherwise", () => {
  const dynamic: RopeShape = {
    ...{ dims: 64, theta: 10_000 },
    scaling: { kind: "dynamic", factor: 2, originalMaxPositions: 100 },
  };
  const contextIds = Int32Array.from({ length: 90 }, (_, i) => i);
  const lengths = (promptTokens: number) => ({ promptTokens, totalTokens: promptTokens + 8 });
  const shared = new SharedContext({ ropes: [dynamic] });
  const short = encodedWith(lengths(95));
  assertEquals(shared.find({ contextIds }, lengths(95)), undefined);
  shared.keep({ contextIds }, short);
  // Up to the original length nothing is scaled; beyond it every length scales otherwise.
  assertEquals(shared.find({ contextIds }, lengths(99)), short);
  assertEquals(shared.find({ contextIds }, lengths(120)), undefined);
  assertEquals(shared.find({ contextIds: contextIds.subarray(1) }, lengths(95)), undefined);
  const other = contextIds.slice();
  other[89] = 5;
  assertEquals(shared.find({ contextIds: other }, lengths(95)), undefined);
  assertEquals(shared.release(), short);
  assertEquals(shared.find({ contextIds }, lengths(95)), undefined);
  const plain = new SharedContext({ ropes: [{ dims: 64, theta: 10_000 }] });
  plain.keep({ contextIds }, short);
  assertEquals(plain.find({ contextIds }, lengths(120)), short);
});
