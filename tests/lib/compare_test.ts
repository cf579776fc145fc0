/**
 * The comparison that all kernel tests rest on has to find what it is there for.
 *
 * @module
 */
import { assertThrows } from "../helpers/assert.ts";
import { assertClose, assertSameBytes, assertSameInts } from "../helpers/compare.ts";

const tolerance = { absolute: 0.01, relative: 0.1, cosine: 1e-3 };
const subject = { name: "out", shape: [2, 3] };

Deno.test("assertClose() names position and values of a mismatch", () => {
  const expected = Float32Array.of(1, 2, 3, 4, 5, 6);
  const actual = Float32Array.of(1, 2, 3, 4, 5.6, 6);
  assertThrows(
    () => assertClose(actual, { expected, tolerance, subject }),
    Error,
    "out[1, 1] of [2, 3] must be within 0.01 + 0.1 * |expected|: " +
      `current value is ${Math.fround(5.6)}, expected 5`,
  );
});

Deno.test("assertClose() compares the places of NaN and infinities first", () => {
  const expected = Float32Array.of(9, 2, NaN, -Infinity, 5, 6);
  const cases: [number[], string][] = [
    [[1, 2, 3, -Infinity, 5, 6], "out[0, 2]"],
    [[1, 2, NaN, Infinity, 5, 6], "out[1, 0]"],
    [[1, NaN, NaN, -Infinity, 5, 6], "out[0, 1]"],
  ];
  for (const [actual, place] of cases) {
    assertThrows(
      () => assertClose(Float32Array.from(actual), { expected, tolerance, subject }),
      Error,
      `${place} of [2, 3] must be not finite at the same places`,
    );
  }
});

Deno.test("assertClose() throws if small errors add up to another direction", () => {
  const expected = Float32Array.of(0.01, 0, 0.01, 0, 0.01, 0);
  const actual = Float32Array.of(0, 0.01, 0, 0.01, 0, 0.01);
  assertThrows(
    () => assertClose(actual, { expected, tolerance, subject }),
    Error,
    "out must have a cosine distance of at most 0.001: current value is 1",
  );
});

Deno.test("assertClose() accepts what is within the limits", () => {
  const expected = Float32Array.of(1, 0, NaN, -Infinity, 5, 6);
  const actual = Float32Array.of(1.05, 0.009, NaN, -Infinity, 5, 6);
  assertClose(actual, { expected, tolerance, subject });
});

Deno.test("assertSameInts() and assertSameBytes() name the first difference", () => {
  assertThrows(
    () =>
      assertSameInts(Int32Array.of(1, 2, 3, 4, 5, 7), {
        expected: Int32Array.of(1, 2, 3, 4, 5, 6),
        subject,
      }),
    Error,
    "out[1, 2] of [2, 3] must be equal: current value is 7, expected 6",
  );
  const expected = new Uint8Array(24);
  const actual = expected.slice();
  actual[13] = 1;
  assertThrows(
    () => assertSameBytes(actual, { expected, subject }),
    Error,
    "out[1, 0] of [2, 3] must be bit for bit equal: current value is 1, expected 0",
  );
});
