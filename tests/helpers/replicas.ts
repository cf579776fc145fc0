/**
 * Copies of a model on GPUs against one copy.
 *
 * @module
 */
import { openReplicas } from "../../lib/engine/replicas.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { assertEquals, assertMatch } from "./assert.ts";
import { batchPlan, batchSamples } from "./batches.ts";
import { MODEL } from "./prompts.ts";

/** Two copies, a GPU for each, give the bits of one for more samples than they have places. */
export async function checkReplicas(): Promise<void> {
  const samples = await batchSamples(9);
  const plan = await batchPlan("dense");
  const run = async (count: number): Promise<GenerateResult[]> => {
    const base = { modelFolder: MODEL, plan, device: "cuda", precision: PRECISIONS.bf16 } as const;
    await using engine = await openReplicas({
      ...base,
      ...{ threads: 1, processCount: 1, timeoutMs: 60_000, batchSize: 2 },
    }, count);
    if (count > 1) assertMatch(engine.deviceDescription, /^2 replicas, each cuda:0/);
    assertEquals(engine.batchSize, 2 * count);
    return await Promise.all(samples.map((sample) => engine.generate(sample)));
  };
  const [expected, found] = [await run(1), await run(2)];
  assertEquals(
    found.map(({ ids, topLogits }) => [ids, topLogits]),
    expected.map(({ ids, topLogits }) => [ids, topLogits]),
  );
}
