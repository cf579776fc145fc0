/**
 * What is not selected as means, from a prompt to the logits: on one process and two, alone and in a
 * batch.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { type Generation, loadModel } from "../../lib/engine/load_model.ts";
import { openPhases } from "../../lib/engine/phases.ts";
import { assert, assertEquals, assertNotEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const HERE = { device: "cpu", threads: 1 } as const;
const CONTEXT = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(100);
const PROMPT = { context: CONTEXT, query: "The sky is" };
const BLOCKS = { blockTokens: 1024, anchorTokens: 512 } as const;
const PLANS: readonly PlanOptions[] = [
  { mode: "xattn" },
  { mode: "starx", ...BLOCKS },
  { mode: "ringx" },
];

async function run(
  plan: PlanOptions,
  options: {
    processCount?: number;
    count?: number;
    selectModule?: string;
    precision?: "f32" | "bf16";
  } = {},
): Promise<Generation[]> {
  const { processCount = 1, count = 1, selectModule, precision = "f32" } = options;
  const load = { ...HERE, ...plan, precision, processCount, batchSize: count, selectModule };
  await using model = await loadModel(MODEL, load);
  const call = { tokensToGenerate: 4, topLogits: 8 };
  return await Promise.all(Array.from({ length: count }, () => model.generate(PROMPT, call)));
}

const factsOf = (generation: Generation | undefined) => {
  assert(generation !== undefined);
  const { ids, topLogits, result } = generation;
  return { ids, topLogits, selected: result.selectedTiles };
};

Deno.test("a threshold of 1 gives the same bits with the rest's mean and without", async () => {
  for (const plan of PLANS) {
    for (const precision of ["f32", "bf16"] as const) {
      const all = { ...plan, threshold: 1 };
      const [drop] = await run(all, { precision });
      const [mean] = await run({ ...all, rest: "mean" }, { precision });
      assertEquals(factsOf(mean), factsOf(drop), `${plan.mode} ${precision}`);
    }
  }
});

Deno.test("the rest's mean changes logits, and gives the same on two processes and in batches", async () => {
  for (const plan of PLANS) {
    const few = { ...plan, threshold: 0.3 };
    const [drop] = await run(few);
    const [mean] = await run({ ...few, rest: "mean" });
    assertNotEquals(factsOf(mean).topLogits, factsOf(drop).topLogits);
    const processCount = plan.mode === "xattn" ? 1 : 2;
    const facts = (one: Generation | undefined) => ({
      ids: one?.ids,
      top: one?.topLogits.map(([id, logit]) => [id, logit.toFixed(3)]),
      selected: one?.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
    });
    for (const one of await run({ ...few, rest: "mean" }, { processCount, count: 2 })) {
      assertEquals(facts(one), facts(mean), plan.mode);
    }
  }
});

Deno.test("the rest of a selection of one's own enters as means, too", async () => {
  const code = `export const select = (_: Float32Array, { rows, columns, diagonal }: {
  rows: number; columns: number; diagonal: number;
}) => Uint8Array.from({ length: rows * columns }, (_, i) =>
  i % columns === 0 || i % columns === diagonal + Math.floor(i / columns) ? 1 : 0);
`;
  await inFolder({ "slim.ts": code }, async (folder) => {
    const selectModule = `${folder}/slim.ts`;
    const [drop] = await run({ mode: "xattn" }, { selectModule });
    const [mean] = await run({ mode: "xattn", rest: "mean" }, { selectModule });
    assertEquals(factsOf(mean).selected, factsOf(drop).selected);
    assertNotEquals(factsOf(mean).topLogits, factsOf(drop).topLogits);
  });
});

Deno.test("openPhases() takes the rest of a context's own plan", async () => {
  const load = { ...HERE, precision: "f32", mode: "xattn", threshold: 0.3 } as const;
  await using phases = await openPhases(MODEL, load);
  const ids = Int32Array.from({ length: 1200 }, (_, i) => i % 200);
  const plan = { mode: "xattn", threshold: 0.3 } as const;
  using drop = await phases.encode(ids, { room: 0 });
  using mean = await phases.encode(ids, { room: 0, plan: { ...plan, rest: "mean" } });
  // The first layer's tiles are chosen before any attention, those behind it are not.
  assertEquals(mean.selected[0]?.[0], drop.selected[0]?.[0]);
  assertNotEquals(mean.selected, drop.selected);
});
