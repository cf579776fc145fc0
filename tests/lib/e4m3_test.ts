/**
 * @module
 */
import { E4M3_MAX, E4M3_VALUES, e4m3Code, hasNanCode } from "../../lib/device/e4m3.ts";
import { elementsToFloats, floatsToElements } from "../../lib/device/elements.ts";
import { assert, assertEquals } from "../helpers/assert.ts";

Deno.test("E4M3_VALUES has the numbers of OCP's table", () => {
  const expected = [[0x00, 0], [0x01, 2 ** -9], [0x07, 7 * 2 ** -9], [0x08, 2 ** -6], [0x38, 1]];
  for (const [code = 0, value = 0] of [...expected, [0x7e, E4M3_MAX], [0xfe, -448]]) {
    assertEquals(E4M3_VALUES[code], value);
  }
  assert(Object.is(E4M3_VALUES[0x80], -0));
  assertEquals([E4M3_VALUES[0x7f], E4M3_VALUES[0xff]], [NaN, NaN]);
});

Deno.test("e4m3Code() is the nearest code, of two the even one", () => {
  for (let code = 0; code < 0x7e; code++) {
    const [low = 0, high = 0] = [E4M3_VALUES[code], E4M3_VALUES[code + 1]];
    const middle = (low + high) / 2;
    assertEquals([low, middle, -high].map(e4m3Code), [
      code,
      code % 2 === 0 ? code : code + 1,
      code + 1 | 0x80,
    ]);
  }
  assertEquals([1e9, -Infinity, NaN, -0].map(e4m3Code), [0x7e, 0xfe, 0x7f, 0x80]);
  const values = Float32Array.of(0.3, -17, 448, 1e-3);
  const bytes = floatsToElements(values, "f8e4m3").slice();
  assertEquals([...elementsToFloats(bytes, "f8e4m3")], [
    0.3125,
    -16,
    448,
    2 ** -9 * Math.round(1e-3 * 2 ** 9),
  ]);
});

Deno.test("hasNanCode() finds one NaN anywhere", () => {
  const all = new Uint8Array(40).map((_, i) => i % 3 === 0 ? 0x7e : 0xfe);
  for (let begin = 0; begin < 6; begin++) {
    for (const end of [begin, begin + 1, begin + 3, begin + 17, 40]) {
      const codes = all.slice().subarray(begin, end);
      assert(!hasNanCode(codes), `${begin} to ${end}`);
      for (let i = 0; i < codes.length; i++) {
        const [before = 0] = [codes[i]];
        for (const nan of [0x7f, 0xff]) {
          codes[i] = nan;
          assert(hasNanCode(codes), `${begin} to ${end}: ${i}`);
        }
        codes[i] = before;
      }
    }
  }
});
