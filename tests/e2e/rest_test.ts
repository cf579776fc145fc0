/**
 * What is not selected as means, from a prompt to the logits: on one process and two, alone and in a
 * batch.
 *
 * @module
 */
import { openPhases } from "../../lib/engine/phases.ts";
import { assertEquals, assertNotEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { checkAllSelected, checkFewSelected, factsOf, runRest } from "../helpers/rest_runs.ts";

const HERE = { device: "cpu", precision: "f32" } as const;

Deno.test("a threshold of 1 gives the same bits with the rest's mean and without", async () => {
  await checkAllSelected(HERE);
  await checkAllSelected({ ...HERE, precision: "bf16" });
});

Deno.test("the rest's mean changes logits, and gives the same on two processes and in batches", async () => {
  await checkFewSelected({ ...HERE, mostProcesses: 2 });
});

Deno.test("the rest of a selection of one's own enters as means, too", async () => {
  const code = `export const select = (_: Float32Array, { rows, columns, diagonal }: {
  rows: number; columns: number; diagonal: number;
}) => Uint8Array.from({ length: rows * columns }, (_, i) =>
  i % columns === 0 || i % columns === diagonal + Math.floor(i / columns) ? 1 : 0);
`;
  await inFolder({ "slim.ts": code }, async (folder) => {
    const selectModule = `${folder}/slim.ts`;
    const [drop] = await runRest({ mode: "xattn" }, { ...HERE, selectModule });
    const [mean] = await runRest({ mode: "xattn", rest: "mean" }, { ...HERE, selectModule });
    assertEquals(factsOf(mean).selected, factsOf(drop).selected);
    assertNotEquals(factsOf(mean).topLogits, factsOf(drop).topLogits);
  });
});

Deno.test("openPhases() takes the rest of a context's own plan", async () => {
  const load = { ...HERE, threads: 1, mode: "xattn", threshold: 0.3 } as const;
  await using phases = await openPhases(MODEL, load);
  const ids = Int32Array.from({ length: 1200 }, (_, i) => i % 200);
  const plan = { mode: "xattn", threshold: 0.3 } as const;
  using drop = await phases.encode(ids, { room: 0 });
  using mean = await phases.encode(ids, { room: 0, plan: { ...plan, rest: "mean" } });
  // The first layer's tiles are chosen before any attention, those behind it are not.
  assertEquals(mean.selected[0]?.[0], drop.selected[0]?.[0]);
  assertNotEquals(mean.selected, drop.selected);
});
