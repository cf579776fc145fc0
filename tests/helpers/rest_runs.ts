/**
 * Runs with means of what is not selected, for the tests on a CPU and on GPUs.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { type Generation, loadModel } from "../../lib/engine/load_model.ts";
import { assert, assertEquals, assertNotEquals } from "./assert.ts";
import { MODEL } from "./prompts.ts";

const CONTEXT = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(100);
const PROMPT = { context: CONTEXT, query: "The sky is" };
const BLOCKS = { blockTokens: 1024, anchorTokens: 512 } as const;
const PLANS: readonly PlanOptions[] = [
  { mode: "xattn" },
  { mode: "starx", ...BLOCKS },
  { mode: "ringx" },
];

/** Where and how to run. */
export interface RestRun {
  readonly device: "cpu" | "cuda";
  readonly precision: "f32" | "bf16";
  readonly processCount?: number;
  /** Prompts at once. */
  readonly count?: number;
  readonly selectModule?: string;
}

/** Generates for a prompt of some two thousand tokens. */
export async function runRest(plan: PlanOptions, options: RestRun): Promise<Generation[]> {
  const { processCount = 1, count = 1, device, precision, selectModule } = options;
  const load = { device, threads: 1, precision, processCount, batchSize: count, selectModule };
  await using model = await loadModel(MODEL, { ...load, ...plan });
  const call = { tokensToGenerate: 4, topLogits: 8 };
  return await Promise.all(Array.from({ length: count }, () => model.generate(PROMPT, call)));
}

/** What two runs may have in common to the last bit. */
export function factsOf(
  generation: Generation | undefined,
): Pick<Generation, "ids" | "topLogits"> & { selected: unknown } {
  assert(generation !== undefined);
  const { ids, topLogits, result } = generation;
  return { ids, topLogits, selected: result.selectedTiles };
}

/** A threshold of 1 leaves no rest, so that its rule changes no bit. */
export async function checkAllSelected(options: RestRun): Promise<void> {
  for (const plan of PLANS) {
    const all = { ...plan, threshold: 1 };
    const [drop] = await runRest(all, options);
    const [mean] = await runRest({ ...all, rest: "mean" }, options);
    assertEquals(factsOf(mean), factsOf(drop), `${plan.mode} ${options.precision}`);
  }
}

/** Means change logits, which depend neither on processes nor on the batch. */
export async function checkFewSelected(
  options: RestRun & { readonly mostProcesses: number },
): Promise<void> {
  const { mostProcesses, ...here } = options;
  for (const plan of PLANS) {
    const few = { ...plan, threshold: 0.3 };
    const [drop] = await runRest(few, here);
    const [mean] = await runRest({ ...few, rest: "mean" }, here);
    assertNotEquals(factsOf(mean).topLogits, factsOf(drop).topLogits);
    const processCount = plan.mode === "xattn" ? 1 : mostProcesses;
    // The parts of ranks are merged in another order than one rank adds up its keys.
    const facts = (one: Generation | undefined) => ({
      ids: one?.ids,
      selected: one?.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
      top: processCount > 1 && here.precision === "bf16"
        ? []
        : one?.topLogits.map(([id, logit]) => [id, logit.toFixed(3)]),
    });
    for (
      const one of await runRest({ ...few, rest: "mean" }, { ...here, processCount, count: 2 })
    ) {
      assertEquals(facts(one), facts(mean), plan.mode);
    }
  }
}
