/**
 * Prompts with plans of their own, against models that are loaded with these plans.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { type Generation, loadModel } from "../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../lib/engine/model_options.ts";
import { assert, assertEquals } from "./assert.ts";
import { goldenEntries } from "./golden.ts";
import { MODEL } from "./prompts.ts";

/** Blocks of the plans. */
export const BLOCKS = { blockTokens: 256, anchorTokens: 128 } as const;

/** Each way to cut a context, with a selection and without. */
export const PLANS: readonly PlanOptions[] = [
  { mode: "star", ...BLOCKS },
  { mode: "starx", ...BLOCKS, threshold: 0.8 },
  { mode: "xattn", threshold: 0.7 },
  { mode: "ringx", threshold: 0.9 },
  { mode: "dense" },
];

const CALL = { tokensToGenerate: 4, topLogits: 8 } as const;

function factsOf({ ids, topLogits, result }: Generation) {
  return { ids, topLogits, selected: result.selectedTiles };
}

/** Checks that a prompt's plan gives what a model of that plan gives, in a batch with other plans. */
export async function checkCallPlans(
  here: Pick<LoadOptions, "device" | "threads" | "processCount">,
): Promise<void> {
  const [entry] = await goldenEntries();
  assert(entry !== undefined);
  const prompt = {
    context: Int32Array.from(entry.context_ids),
    query: Int32Array.from(entry.query_ids),
  };
  const options = { ...here, batchSize: 3 };
  await using model = await loadModel(MODEL, { ...options, mode: "star", blockTokens: 512 });
  const before = factsOf(await model.generate(prompt, CALL));
  const together = await Promise.all(
    // The first one keeps its context, which those with other plans must not take.
    PLANS.map((plan, i) => model.generate(prompt, { ...CALL, plan, keepContext: i < 2 })),
  );
  for (const [i, plan] of PLANS.entries()) {
    await using own = await loadModel(MODEL, { ...options, ...plan });
    const [found] = together.slice(i);
    assert(found !== undefined);
    assertEquals(factsOf(found), factsOf(await own.generate(prompt, CALL)), `${plan.mode}`);
  }
  assertEquals(factsOf(await model.generate(prompt, CALL)), before, "the model keeps its own plan");
}
