/**
 * Curves of thresholds and of shares: which step takes a tile, and sums that are the same in any
 * order.
 *
 * @module
 */
import { openCpuDevice } from "../../../lib/device/cpu.ts";
import { Tensor } from "../../../lib/device/tensor.ts";
import {
  CURVE_STEPS,
  nearestStep,
  stepsOf,
  thresholdOfStep,
} from "../../../lib/attention/curve_steps.ts";
import { MassCurves } from "../../../lib/attention/mass_curves.ts";
import { TILE_RULES } from "../../../lib/attention/thresholds.ts";
import { selectTiles } from "../../../lib/ops/select_tiles.ts";
import { assert, assertEquals, assertThrows } from "../../helpers/assert.ts";
import { Random } from "../../helpers/random.ts";

/** Masses of rows 0 to tiles - 1: few large tiles, ties and zeros. */
function masses(heads: number, tiles: number): Float32Array<ArrayBuffer> {
  const random = new Random(21);
  return Float32Array.from({ length: heads * tiles * tiles }, (_, i) => {
    const value = Math.max(random.below(9) - 2, 0) * 4 ** random.below(4) * 0.37;
    return i % tiles <= Math.floor(i / tiles) % tiles ? value : 0;
  });
}

Deno.test("stepsOf() takes a tile at the first threshold at which selectTiles() does", async () => {
  const [heads, tiles] = [3, 24];
  const mass = masses(heads, tiles);
  using device = await openCpuDevice({ threads: 1 });
  using owned = new DisposableStack();
  const make = (dtype: "f32" | "i32", shape: readonly number[]) =>
    owned.use(Tensor.allocate(device, { dtype, shape, label: "test" }));
  const on = make("f32", [heads, tiles, tiles]);
  await on.writeFrom(mass);
  const [counts, indices] = [make("i32", [heads, tiles]), make("i32", [heads, tiles, tiles])];
  for (const rule of TILE_RULES) {
    const sizes = new Set<number>();
    for (const step of [0, 1, 17, 35, 52, 60, 100, 150, 189, 190, 199, CURVE_STEPS]) {
      const threshold = thresholdOfStep(step, rule);
      const byShare = rule === "share";
      await selectTiles(device, { counts, indices, mass: on, firstTile: 0, threshold, byShare });
      const [taken, numbers] = [await counts.toInts(), await indices.toInts()];
      taken.forEach((count, row) => {
        const seen = row % tiles + 1;
        const steps = stepsOf(mass.subarray(row * tiles, row * tiles + seen), rule);
        const expected = [...steps.keys()].filter((tile) => (steps[tile] ?? 0) <= step);
        assertEquals([...numbers.subarray(row * tiles, row * tiles + count)], expected, rule);
      });
      sizes.add(taken.reduce((sum, count) => sum + count, 0));
    }
    assert(sizes.size > 5, `steps of ${rule} take ${[...sizes]} tiles`);
  }
});

Deno.test("steps of shares fall from 1 to 0 and have two digits, those that one asks for among them", () => {
  const shares = Array.from(
    { length: CURVE_STEPS + 1 },
    (_, step) => thresholdOfStep(step, "share"),
  );
  assertEquals([shares[0], shares[35], shares[70], shares.at(-1)], [1, 0.1, 0.01, 0]);
  shares.forEach((share, step) => {
    assert(step === 0 || share < (shares[step - 1] ?? 0), `step ${step}`);
    assertEquals(Number(share.toPrecision(2)), share);
    assertEquals(nearestStep(share, "share"), step);
  });
  for (const share of [0.05, 0.08, 0.13, 0.005, 0.015]) assert(shares.includes(share), `${share}`);
  assertEquals(thresholdOfStep(nearestStep(0.051, "share"), "share"), 0.05);
  assertEquals(thresholdOfStep(nearestStep(0.949, "threshold"), "threshold"), 0.95);
});

Deno.test("steps of a row without mass, of one tile, and of one that is no number", () => {
  const steps = (rule: typeof TILE_RULES[number], ...mass: number[]) => [
    ...stepsOf(Float32Array.from(mass), rule),
  ];
  assertEquals(steps("share"), []);
  assertEquals(steps("share", 0.5), [0]);
  // As the op: nothing is less than a share of nothing.
  assertEquals(steps("share", 0, 0, 0), [0, 0, 0]);
  assertEquals(steps("share", 0, 1, 1), [CURVE_STEPS, 10, 0]);
  assertEquals(steps("share", 1, NaN, 1), [CURVE_STEPS, CURVE_STEPS, 0]);
  assertEquals(steps("threshold", 0, 0, 1), [0, CURVE_STEPS, 0]);
});

for (const rule of TILE_RULES) {
  Deno.test(`curves by ${rule} end at all tiles and all mass, and are the same in any order`, () => {
    checkCurves(rule);
  });
}

function checkCurves(rule: typeof TILE_RULES[number]): void {
  const [heads, tiles] = [2, 8];
  const mass = masses(heads, tiles);
  const random = new Random(4);
  const exact = mass.map((_, i) =>
    i % tiles <= Math.floor(i / tiles) % tiles ? random.unit() * 128 : 0
  );
  const rows = (from: number, to: number): MassCurves => {
    const curves = new MassCurves({ layers: 2, heads, rule });
    const cut = (all: Float32Array) =>
      Float32Array.from({ length: heads * (to - from) * tiles }, (_, i) => {
        const [head, rest] = [Math.floor(i / ((to - from) * tiles)), i % ((to - from) * tiles)];
        return all[(head * tiles + from) * tiles + rest] ?? 0;
      });
    curves.add({
      layer: 1,
      shape: [heads, to - from, tiles],
      mass: cut(mass),
      exact: cut(exact),
      seenBy: (row) => [0, from + row],
    });
    return curves;
  };
  const whole = rows(0, tiles);
  for (const border of [1, 5]) {
    const parts = rows(border, tiles);
    parts.merge(MassCurves.fromWire(rows(0, border).toWire()));
    assertEquals(parts.toWire(), whole.toWire());
  }
  for (let head = 0; head < heads; head++) {
    const { tiles: taken, kept } = whole.of(1, head);
    assertEquals([taken[CURVE_STEPS], kept[CURVE_STEPS]], [tiles * (tiles + 1) / 2, 1]);
    // Sink and diagonal of each row, of which the first one has one tile; or the diagonal.
    if (rule === "threshold") assertEquals(taken[0], 2 * tiles - 1);
    else assert((taken[0] ?? 0) >= tiles && (taken[0] ?? 0) < 2 * tiles - 1);
    for (let step = 1; step <= CURVE_STEPS; step++) {
      assert((taken[step] ?? 0) >= (taken[step - 1] ?? 0));
      assert((kept[step] ?? 0) >= (kept[step - 1] ?? 0));
    }
    assertEquals(whole.of(0, head).kept[0], 1);
  }
  assertThrows(
    () => MassCurves.fromWire({ ...whole.toWire(), heads: 3 }),
    RangeError,
    "Cannot read curves as they must have",
  );
  assertEquals(whole.toWire().rule, rule === "share" ? rule : undefined);
  const other = new MassCurves({
    layers: 2,
    heads,
    rule: rule === "share" ? "threshold" : "share",
  });
  assertThrows(
    () => whole.merge(other),
    Error,
    "curves of one model have the same sizes and steps",
  );
}
