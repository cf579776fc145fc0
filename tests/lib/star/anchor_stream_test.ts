/**
 * When the anchor is sent, which chunks run side by side meanwhile, and their turns.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { arrangeChunks, sendingPays } from "../../../lib/star/anchor_stream.ts";
import { layOutBlocks } from "../../../lib/star/blocks.ts";
import { type Lane, runSideBySide } from "../../../lib/star/lanes.ts";
import { assertEquals, assertRejects } from "../../helpers/assert.ts";
import { STAR } from "../../helpers/prompts.ts";

function pays(contextTokens: number, ranks: number, plan: PlanOptions = STAR): boolean {
  return sendingPays(layOutBlocks(checkPlan(plan), { contextTokens, ranks }));
}

Deno.test("sendingPays() is true where rank 0 has as many blocks as the next rank", () => {
  assertEquals(pays(8 * 256, 2), true);
  assertEquals(pays(8 * 256, 8), true);
  assertEquals(pays(5 * 256, 3), true, "2, 2 and 1 blocks");
  assertEquals(pays(7 * 256, 2), false, "4 and 3 blocks");
  assertEquals(pays(3 * 256, 4), true, "a rank without blocks");
  assertEquals(pays(256, 4), false, "one block");
  assertEquals(pays(8 * 256, 1), false, "one rank");
  assertEquals(pays(2048, 2, { ...STAR, mode: "ring" }), false, "no anchor");
});

Deno.test("arrangeChunks() takes the anchor's last chunks at rank 0, the first ones elsewhere", () => {
  const chunks = [0, 1, 2, 3].map((i) => ({ begin: 100 * i, end: 100 * (i + 1) }));
  const arrange = (rank: number, anchorTokens: number, lanes = 2) => {
    const { before, together, after } = arrangeChunks(chunks, { rank, anchorTokens, lanes });
    return [before, together, after].map((part) => part.map(({ begin }) => begin / 100));
  };
  assertEquals(arrange(0, 400), [[0, 1], [2, 3], []]);
  assertEquals(arrange(0, 250), [[0], [1, 2], [3]]);
  assertEquals(arrange(0, 200), [[], [0, 1], [2, 3]]);
  assertEquals(arrange(0, 1), [[], [0], [1, 2, 3]]);
  assertEquals(arrange(1, 400), [[], [0, 1], [2, 3]]);
  assertEquals(arrange(0, 400, 3), [[0], [1, 2, 3], []]);
  assertEquals(arrange(0, 250, 3), [[], [0, 1, 2], [3]]);
  assertEquals(arrange(0, 400, 16), [[], [0, 1, 2, 3], []]);
  assertEquals(arrange(1, 400, 16), [[], [0, 1, 2, 3], []]);
});

/** Runs made-up chunks of a model of three layers; `note` gets what happens in order. */
async function runLanes(
  count: number,
  options: { note: (event: string) => void; failing?: string },
): Promise<void> {
  const { note, failing } = options;
  const event = async (text: string) => {
    note(text);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
    if (text === failing) throw new RangeError(text);
  };
  const chunk = (index: number) => async (lane: Lane) => {
    const attention = lane.inTurns({ attend: ({ layer }) => event(`attend ${layer} of ${index}`) });
    for (let layer = 0; layer < 3; layer++) {
      await event(`keys ${layer} of ${index}`);
      const queries = { layer } as Parameters<typeof attention.attend>[0];
      if (layer < 2) await attention.attend(queries);
    }
  };
  await runSideBySide(Array.from({ length: count }, (_, index) => chunk(index)), {
    layerCount: 3,
    onKeys: (layer) => event(`all ${layer}`),
  });
}

Deno.test("runSideBySide() has all keys of a layer before anybody attends to them", async () => {
  const events: string[] = [];
  await runLanes(2, { note: (event) => events.push(event) });
  assertEquals(events, [
    ...["keys 0 of 0", "keys 0 of 1", "all 0"],
    ...["attend 0 of 0", "keys 1 of 0", "attend 0 of 1", "keys 1 of 1", "all 1"],
    ...["attend 1 of 0", "keys 2 of 0", "attend 1 of 1", "keys 2 of 1", "all 2"],
  ]);
  const alone: string[] = [];
  await runLanes(1, { note: (event) => alone.push(event) });
  assertEquals(alone.filter((event) => event.startsWith("all")), ["all 0", "all 1", "all 2"]);
});

Deno.test("runSideBySide() throws the first error, and nothing runs any more", async () => {
  for (const failing of ["attend 1 of 0", "keys 1 of 1", "all 1"]) {
    const events: string[] = [];
    const run = () => runLanes(2, { note: (event) => events.push(event), failing });
    const error = await assertRejects(run, RangeError);
    assertEquals(error.message, failing);
    assertEquals(events.at(-1), failing);
  }
});
