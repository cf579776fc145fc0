/**
 * Numbers on their way into C's structures.
 *
 * @module
 */
import { PARAM_BYTES } from "../../../lib/ffi/op_params.ts";
import { PARAM_WRITERS } from "../../../lib/ffi/param_structs.ts";
import { StructMemory, writeInt, writeSize } from "../../../lib/ffi/struct_views.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

const NO_SIZES = [NaN, 1.5, 2 ** 53, -(2 ** 53), Infinity, -Infinity];
const NO_INTS = [NaN, 1.5, 2 ** 53, 2 ** 31, -(2 ** 31) - 1, Infinity];

Deno.test("writeSize() writes whole numbers of 53 bits, and nothing else", () => {
  const memory = new StructMemory(8);
  for (const value of [0, 1, -1, 2 ** 32 - 1, 2 ** 32, -(2 ** 32) - 5, 2 ** 53 - 1]) {
    writeSize(memory.i32, 0, value);
    assertEquals(BigInt.asIntN(64, memory.u64[0] ?? 0n), BigInt(value), `${value}`);
  }
  writeSize(memory.i32, 0, 7);
  for (const value of NO_SIZES) {
    assertThrows(
      () => writeSize(memory.i32, 0, value),
      RangeError,
      `must be a whole number of at most 53 bits: current value is ${value}`,
    );
    assertEquals(memory.u64[0], 7n);
  }
});

Deno.test("writeInt() writes whole numbers of 32 bits, and nothing else", () => {
  const words = new Int32Array(1);
  for (const value of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)]) {
    writeInt(words, 0, value);
    assertEquals(words[0], value);
  }
  writeInt(words, 0, 7);
  for (const value of NO_INTS) {
    assertThrows(
      () => writeInt(words, 0, value),
      RangeError,
      `must be a whole number of 32 bits: current value is ${value}`,
    );
    assertEquals(words[0], 7);
  }
});

Deno.test("the structures of ops take no number that C would see as another, also when hot", () => {
  const memory = new StructMemory(PARAM_BYTES.sx_swiglu);
  const params = { out: 1n, outDtype: 0, gateUp: 2n, gateUpDtype: 0, rows: 3, dim: 4 };
  const write = (change: Partial<typeof params>) =>
    PARAM_WRITERS.sx_swiglu(memory, { ...params, ...change });
  for (const round of [1, 200_000]) {
    for (let i = 0; i < round; i++) write({ rows: i });
    for (const value of NO_SIZES) assertThrows(() => write({ rows: value }), RangeError);
    for (const value of NO_INTS) assertThrows(() => write({ outDtype: value }), RangeError);
  }
});
