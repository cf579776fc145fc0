/**
 * A model with keys and values in 8 bits: near the one in bf16 in every mode, half the memory, and
 * refused by name where it cannot be.
 *
 * @module
 */
import { loadModel, type LoadOptions, PRECISIONS } from "../../mod.ts";
import { UsageError } from "../../lib/errors.ts";
import { memoryNeeds } from "../../lib/engine/memory_plan.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
} from "../helpers/assert.ts";
import { cosine, type FirstLogits, firstLogits } from "../helpers/first_logits.ts";
import { MODEL } from "../helpers/prompts.ts";

const CONTEXT = "The grass is green. The sky is blue. The sun is yellow.\n".repeat(60);
const PROMPT = { context: CONTEXT, query: "The sky is" };

function ask(options: LoadOptions = {}): Promise<FirstLogits> {
  return firstLogits(MODEL, PROMPT, options);
}

const BLOCKS = { blockTokens: 256, anchorTokens: 256 } as const;
const MODES: readonly LoadOptions[] = [
  { mode: "dense" },
  { mode: "xattn", threshold: 0.9 },
  { mode: "xattn", threshold: 0.9, rest: "mean" },
  { mode: "star", ...BLOCKS },
  { mode: "starx", ...BLOCKS, threshold: 0.9, processCount: 2 },
  { mode: "ring", processCount: 2 },
  { mode: "ringx", threshold: 0.9, processCount: 2 },
  { mode: "dense", decodeKeep: 0.5 },
  { mode: "dense", weights: "int8" },
];

for (const options of MODES) {
  Deno.test(`a cache in 8 bits gives nearly bf16's logits: ${JSON.stringify(options)}`, async () => {
    const exact = await ask(options);
    const int8 = await ask({ ...options, cache: "int8" });
    const fp8 = await ask({ ...options, cache: "fp8" });
    assertGreater(cosine(exact.logits, int8.logits), 0.9995);
    assertGreater(cosine(exact.logits, fp8.logits), 0.997);
    assert(String(int8.logits) !== String(exact.logits), "8 bits must round");
    assert(String(int8.logits) !== String(fp8.logits), "whole numbers and e4m3 round otherwise");
  });
}

Deno.test("a cache in 8 bits gives the same bits with any threads, and by either option", async () => {
  const options = { mode: "star", ...BLOCKS, cache: "int8" } as const;
  const expected = await ask(options);
  assertEquals(await ask({ ...options, threads: 2 }), expected);
  const { cache, ...plan } = options;
  assertEquals(await ask({ ...plan, precision: { ...PRECISIONS.bf16, cache } }), expected);
  assertEquals(await ask({ ...plan, cache: "bf16" }), await ask(plan));
});

Deno.test("keys and values of 8 bits take half the memory, and plans count what they are read from", () => {
  const config = modelShape("llama-3.1-8b");
  assert(config !== undefined);
  const plan = checkPlan({ mode: "dense" });
  const question = { config, plan, ranks: 1, chunkTokens: 512, contextTokens: 131_072, room: 128 };
  const needs = (cache: "bf16" | "int8") => {
    const precision = { ...PRECISIONS.bf16, cache };
    const [need] = memoryNeeds(DEVICE_TRAITS.cpu, { ...question, precision });
    assert(need !== undefined);
    return need;
  };
  const [bf16, int8] = [needs("bf16"), needs("int8")];
  // A row of 128 numbers has a scale of 4 bytes: 132 bytes in place of 256.
  const share = int8.cache / bf16.cache;
  assertGreater(share, 132 / 256 - 0.001);
  assertLess(share, 132 / 256 + 0.001);
  // One layer's keys and values in bf16, and what a chunk's are before they are rounded.
  const layer = bf16.cache / config.layerCount;
  const more = int8.working - bf16.working;
  assertGreater(more, layer);
  assertLess(more, 1.02 * layer + 512 * 2 * 8 * 128 * 4);
});

Deno.test("a GPU that has no code for a cache of 8 bits refuses it by name", async () => {
  const { cacheKinds } = DEVICE_TRAITS.cuda;
  const refused = (["int8", "fp8"] as const).filter((kind) => !cacheKinds.includes(kind));
  for (const cache of refused) {
    await assertRejects(
      () => loadModel(MODEL, { device: "cuda", cache }),
      UsageError,
      `Cannot compute on a GPU as 'cache' must be ${cacheKinds.join(" or ")} where 'device' is ` +
        `cuda: current value is ${cache}`,
    );
  }
  await assertRejects(
    // @ts-expect-error No such kind.
    () => loadModel(MODEL, { cache: "int4" }),
    UsageError,
    "'cache' must be one of bf16, int8, fp8",
  );
});
