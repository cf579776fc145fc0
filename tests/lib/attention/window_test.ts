import { keyPlace, visibleRows } from "../../../lib/attention/window.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

Deno.test("keyPlace() finds the gap between runs of positions", () => {
  assertEquals(keyPlace([]), { firstPosition: 0, prefixTokens: 0, prefixGap: 0 });
  const joined = [{ start: 128, end: 256 }, { start: 256, end: 300 }];
  assertEquals(keyPlace(joined), { firstPosition: 128, prefixTokens: 0, prefixGap: 0 });
  const apart = [...joined, { start: 512, end: 640 }, { start: 640, end: 650 }];
  assertEquals(keyPlace(apart), { firstPosition: 128, prefixTokens: 172, prefixGap: 212 });
  assertThrows(() => keyPlace([...apart, { start: 700, end: 710 }]), Error, "one gap");
});

Deno.test("visibleRows() are the last rows of a rank, whatever positions it has", () => {
  const cases = [
    [{ start: 0, end: 700 }],
    [{ start: 128, end: 256 }, { start: 512, end: 700 }],
    [{ start: 256, end: 384 }, { start: 384, end: 512 }],
    [],
  ];
  for (const runs of cases) {
    const positions = runs.flatMap(({ start, end }) =>
      Array.from({ length: end - start }, (_, i) => start + i)
    );
    for (const window of [0, 1, 60, 200, 300, 500, 600, 10_000]) {
      for (const lastPosition of [699, 720, 1500]) {
        const place = { ...keyPlace(runs), keyCount: positions.length, lastPosition };
        const keyCount = positions.filter((position) =>
          window === 0 || lastPosition - position < window
        ).length;
        const firstRow = positions.length - keyCount;
        const text = JSON.stringify({ runs, window, lastPosition });
        assertEquals(visibleRows(window, place), { firstRow, keyCount }, text);
      }
    }
  }
});
