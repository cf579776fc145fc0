/**
 * What the public options are when they are absent, and what is refused of them at run time.
 *
 * @module
 */
import { UsageError } from "../../../lib/errors.ts";
import { loadModel } from "../../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../../lib/engine/model_options.ts";
import {
  checkGenerateOptions,
  checkLoadOptions,
  checkPhasesOptions,
} from "../../../lib/engine/options.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../../helpers/assert.ts";
import { MODEL } from "../../helpers/prompts.ts";

/** What a caller without types hands in. */
const foreign = <T>(options: unknown) => options as T;
const PROMPT = { context: "a", query: "b" };

Deno.test("checkLoadOptions() has a default for every option", () => {
  const { plan: { cut, selection }, ...rest } = checkLoadOptions("model", { threads: undefined });
  assertEquals([cut, selection], [{ kind: "whole" }, undefined]);
  assertEquals(rest, {
    device: "auto",
    precision: PRECISIONS.bf16,
    wish: { weights: undefined, head: undefined, cache: undefined },
    threads: 0,
    rowsSet: undefined,
    gpusPerRank: undefined,
    processCount: 1,
    expectedTokens: undefined,
    timeoutMs: 60_000,
    startTimeoutMs: 60_000,
    copyWeights: false,
    keepWeights: false,
    batchSize: 1,
    replicas: 1,
    ropeScaling: undefined,
    select: undefined,
  });
});

const REFUSED: readonly [unknown, string][] = [
  [{ mode: "dens" }, "'mode' must be one of dense, xattn, star, starx, ring, ringx"],
  [{ mode: null }, "'mode' must be one of"],
  [{ mode: "star" }, "'blockTokens' is missing: it must be a whole number above 0"],
  [{ plan: { mode: "dense" } }, "'plan' is none of its options: mode, blockTokens"],
  [{ device: "gpu" }, "'device' must be one of auto, cpu, cuda: current value is gpu"],
  [{ batchSize: 0 }, "'batchSize' must be"],
  [{ ropeScaling: 4 }, "'ropeScaling' must be an object: current value is 4"],
  [{ precision: "f16" }, "'precision' must be one of bf16, f32: current value is f16"],
  [{ precision: { ...PRECISIONS.f32, cache: "f8" } }, "'precision.cache' must be one of"],
  [
    { precision: { activations: "f32" } },
    "'precision.weights' is missing: it must be one of bf16, f32, int8, fp8",
  ],
  [{ weights: "int4" }, "'weights' must be one of bf16, int8, fp8: current value is int4"],
  [{ head: "f32" }, "'head' must be one of bf16, int8, fp8: current value is f32"],
  [{ keepWeights: 1 }, "'keepWeights' must be"],
  [
    { precision: { ...PRECISIONS.bf16, head: "bf16" } },
    "'precision.head' must be one of int8, fp8: current value is bf16",
  ],
  [{ precision: { ...PRECISIONS.bf16, weights: "f32" } }, "'precision.weights' must be bf16"],
  [{ processCount: 0 }, "'processCount' must be a whole number from 1 to 1024"],
  [{ processCount: "2" }, "'processCount' must be a whole number from 1 to 1024"],
  [{ threads: -1 }, "'threads' must be a whole number from 0 to 256: current value is -1"],
  [{ gpusPerRank: 0 }, "'gpusPerRank' must be a whole number from 1 to 32"],
  [{ expectedTokens: 1.5 }, "'expectedTokens' must be a whole number from 0 to 2147483647"],
  [{ timeoutMs: 0 }, "'timeoutMs' must be a number from 100 to 2000000000"],
  [{ timeoutMs: NaN }, "'timeoutMs' must be a number"],
  [null, "'options' must be an object: current value is null"],
];

for (const [options, message] of REFUSED) {
  Deno.test(`checkLoadOptions() refuses ${JSON.stringify(options)}`, () => {
    assertThrows(
      () => checkLoadOptions("model", foreign<LoadOptions>(options)),
      UsageError,
      message,
    );
  });
}

Deno.test("loadModel() and openPhases() refuse a folder that is no text", () => {
  const message = "'folder' is missing: it must be a text";
  assertThrows(() => checkLoadOptions(foreign(undefined), {}), UsageError, message);
  assertThrows(() => checkPhasesOptions(foreign(undefined), {}), UsageError, message);
  const options = foreign<Record<string, never>>({ expectedTokens: 1 });
  assertThrows(() => checkPhasesOptions("m", options), UsageError, "'expectedTokens' is none of");
});

Deno.test("checkGenerateOptions() has defaults and refuses what is none of its options", () => {
  const prompt = { context: "a", query: "b" };
  assertEquals(checkGenerateOptions(prompt, {}), {
    sample: "prompt",
    tokensToGenerate: 128,
    stopWords: [],
    topLogits: 0,
    endIds: [],
  });
  const refused: readonly [unknown, unknown, string][] = [
    [{ context: "a" }, {}, "'query' is missing: it must be a text"],
    [
      { ...prompt, context: 5 },
      {},
      "'context' must be a text or an Int32Array of ids: current value is 5",
    ],
    [{ ...prompt, name: "x" }, {}, "'name' is none of its options: context, query, sample"],
    [prompt, { tokensToGenerate: 0 }, "'tokensToGenerate' must be a whole number from 1"],
    [prompt, { stopWords: "." }, "'stopWords' must be an array of texts: current value is ."],
    [prompt, { stopWords: [1] }, "'stopWords' must be an array of texts: current value is [1]"],
    [prompt, { topLogits: -1 }, "'topLogits' must be a whole number from 0"],
    [prompt, { stop_words: [] }, "'stop_words' is none of its options"],
  ];
  for (const [given, options, message] of refused) {
    const check = () => checkGenerateOptions(foreign(given), foreign(options));
    assertThrows(check, UsageError, message);
  }
});

/** What callers without types hand in for prompts and what is called back, and what names it. */
const FOREIGN: readonly (readonly [prompt: unknown, options: unknown, line: string])[] = [
  [null, {}, "'prompt' must be an object: current value is null"],
  [["a"], {}, "'prompt' must be an object"],
  [PROMPT, null, "'options' must be an object: current value is null"],
  [PROMPT, { signal: 5 }, "'signal' must be an AbortSignal: current value is 5"],
  [PROMPT, { signal: null }, "'signal' must be an AbortSignal: current value is null"],
  [PROMPT, { onIds: "log" }, "'onIds' must be a function: current value is log"],
  [PROMPT, { onProgress: {} }, "'onProgress' must be a function"],
];

Deno.test("generate() and score() refuse by name what callers without types hand in", async () => {
  await using model = await loadModel(MODEL, { device: "cpu", threads: 1 });
  for (const [prompt, options, line] of FOREIGN) {
    await assertRejects(() => model.generate(foreign(prompt), foreign(options)), UsageError, line);
    const isOfScore = prompt === PROMPT && !line.includes("onIds");
    if (!isOfScore) continue;
    await assertRejects(() => model.score("a", "b", foreign(options)), UsageError, line);
  }
  assertThrows(
    () => checkLoadOptions("model", foreign({ onWarning: true })),
    UsageError,
    "'onWarning' must be a function: current value is true",
  );
});

Deno.test("what has not come to the ranks when a model is disposed of ends with an AbortError", async () => {
  const model = await loadModel(MODEL, { device: "cpu", threads: 1 });
  // Both are being tokenized.
  const calls = [model.generate(PROMPT, { tokensToGenerate: 2 }), model.score("a", "b")];
  await Promise.all([
    model[Symbol.asyncDispose](),
    ...calls.map(async (call) => {
      const error = await assertRejects(() => call, DOMException);
      assertEquals(error.name, "AbortError");
    }),
  ]);
  await assertRejects(() => model.generate(PROMPT), TypeError, "the model is disposed");
});

Deno.test("loadModel() computes with parts of its own precision", async () => {
  const found: [ids: readonly number[], logit: number][] = [];
  for (
    const precision of [
      "f32",
      PRECISIONS.f32,
      { activations: "f32", weights: "bf16", cache: "bf16" },
      { activations: "bf16", weights: "bf16", cache: "f32" },
    ] as const
  ) {
    await using model = await loadModel(MODEL, { device: "cpu", threads: 1, precision });
    const prompt = { context: "The sky is blue. ".repeat(20), query: "The sky is" };
    const { result } = await model.generate(prompt, { tokensToGenerate: 1, topLogits: 3 });
    const [[, logit = NaN] = []] = result.topLogits;
    found.push([result.ids, logit]);
  }
  const [[ids, exact] = [[], NaN]] = found;
  for (const [otherIds, logit] of found) {
    assertEquals(otherIds, ids);
    assert(Math.abs(logit - exact) < 0.3, `a logit is ${logit} instead of ${exact}`);
  }
});

Deno.test("loadModel() refuses a mode that there is not before it looks at the folder", async () => {
  const options = foreign<LoadOptions>({ mode: "dens" });
  await assertRejects(() => loadModel("nowhere", options), UsageError, "'mode' must be one of");
});
