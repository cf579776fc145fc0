/**
 * The tests' own assertions, where a fault in them would hide one elsewhere.
 *
 * @module
 */
import { assertEquals, assertMatch, assertThrows } from "./helpers/assert.ts";

function messageOf(run: () => void): string {
  return assertThrows(run).message;
}

Deno.test("assertEquals() names the first difference of long lists and does not compare lines", () => {
  const numbers = Float32Array.from({ length: 200_000 }, (_, i) => i);
  const others = numbers.map((value) => value < 7 ? value : value + 0.5);
  assertEquals(numbers, numbers.slice());
  assertEquals(
    messageOf(() => assertEquals(numbers, others, "rows")),
    "[7] of 200000 is 7 instead of 7.5: rows",
  );
  assertEquals(
    messageOf(() => assertEquals({ out: [...numbers] }, { out: [...others] })),
    ".out[7] of 200000 is 7 instead of 7.5",
  );
  assertEquals(
    messageOf(() => assertEquals(numbers, numbers.subarray(1))),
    "it has 200000 elements instead of 199999",
  );
  const zeros = new Float32Array(1000);
  assertEquals(
    messageOf(() => assertEquals(zeros, zeros.map(() => -0))),
    "[0] of 1000 is 0 instead of -0",
  );
  assertEquals(
    messageOf(() => assertEquals<unknown>(zeros, new Float64Array(1000))),
    "it is of class Float32Array instead of Float64Array",
  );
  const nans = zeros.map(() => NaN);
  assertEquals(nans, nans.slice());
});

Deno.test("assertEquals() shows short lists, and structures with them, line by line", () => {
  assertMatch(messageOf(() => assertEquals([1, 2], [1, 3], "ids")), /2,?\n[^]*3,?\n[^]*ids$/);
  assertMatch(messageOf(() => assertEquals({ a: 1 }, { a: 2 })), /a: 1[^]*a: 2/);
});
