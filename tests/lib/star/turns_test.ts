import { Pauses, type Turns } from "../../../lib/star/turns.ts";
import { assertEquals } from "../../helpers/assert.ts";

/** A driver that counts pauses; `chunks` are those of the rank that has most. */
function countingTurns(chunks: number): Turns & { pauses: number } {
  return {
    pauses: 0,
    turn: () => Promise.resolve(),
    checkpoint() {},
    agreeOnPauses: () => Promise.resolve(Math.max(0, chunks - 1)),
    pause() {
      this.pauses++;
      return Promise.resolve();
    },
  };
}

Deno.test("Pauses makes as many on a rank with few chunks, or none, as on the one with most", async () => {
  for (const most of [0, 1, 2, 5]) {
    for (let own = 0; own <= most; own++) {
      const turns = countingTurns(most);
      const pauses = await Pauses.agree(turns, own);
      for (let chunk = 1; chunk < own; chunk++) assertEquals(await pauses.next(), true);
      assertEquals(turns.pauses, Math.max(0, own - 1));
      await pauses.finish();
      assertEquals(turns.pauses, Math.max(0, most - 1));
      assertEquals(await pauses.next(), false);
    }
  }
});

Deno.test("Pauses lie evenly between parts that all ranks do together", async () => {
  const turns = countingTurns(3);
  const pauses = await Pauses.agree(turns, 1);
  const places: number[] = [];
  for (let done = 0; done < 12; done++) {
    if (await pauses.spread({ done, all: 12 })) places.push(done);
  }
  assertEquals([places, turns.pauses], [[4, 8], 2]);
  // More pauses than parts: several at once, and those that are left at the end.
  const many = countingTurns(30);
  const spread = await Pauses.agree(many, 30);
  for (let done = 0; done < 4; done++) await spread.spread({ done, all: 4 });
  assertEquals(many.pauses, 22);
  await spread.finish();
  assertEquals(many.pauses, 29);
});
