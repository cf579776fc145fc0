import { depthsOf } from "../../commands/ruler/depths.ts";
import { assertEquals } from "../helpers/assert.ts";

function sample(context: string, ...outputs: string[]) {
  return { context, record: new Map([["outputs", outputs]]) };
}

Deno.test("depthsOf() finds how deep each needle lies", () => {
  const needle = (value: string) => `One of the special magic numbers for x is: ${value}.`;
  const context = `${"a".repeat(50)}${needle("11")}${"b".repeat(96)}${needle("22")}`;
  const at = [context.indexOf(" is: 11."), context.indexOf(" is: 22.")];
  const expected = at.map((place) => Number((100 * place / context.length).toFixed(1)));
  assertEquals(depthsOf(sample(context, "11", "22")), { depths: expected });
  assertEquals(expected.every((depth) => depth > 0 && depth < 100), true);
});

Deno.test("depthsOf() is nothing for tasks without needles", () => {
  assertEquals(depthsOf(sample("VAR X1 is: 11.", "11")), {});
  assertEquals(depthsOf(sample("One of the special magic numbers for x is: 1.", "2")), {});
});
