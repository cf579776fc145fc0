/**
 * The steps of a head's curve: which thresholds, or which shares of a tile, are measured, and at which
 * of them a selection takes a tile.
 *
 * @module
 */
import type { TileRule } from "./thresholds.ts";

/** Step 0 takes the fewest tiles, the last one all that a row sees. */
export const CURVE_STEPS = 200;

/** In hundredths of a power of ten, falling: two digits suffice to write a share down. */
const MANTISSAS = [
  ...range(100, 50, 5),
  ...range(50, 20, 2),
  ...range(20, 10, 1),
];

/** From `from` down to above `end`. */
function range(from: number, end: number, step: number): number[] {
  return Array.from({ length: Math.ceil((from - end) / step) }, (_, i) => from - i * step);
}

/** 1 at step 0, 35 steps for each power of ten, 0 at the last one. */
const SHARES: readonly number[] = Array.from({ length: CURVE_STEPS + 1 }, (_, step) => {
  if (step === CURVE_STEPS) return 0;
  const power = Math.floor(step / MANTISSAS.length);
  // By its digits: the number that a reader of the file gets.
  return Number(`${MANTISSAS[step % MANTISSAS.length] ?? 0}e-${power + 2}`);
});

/** The threshold of a step, or the share. */
export function thresholdOfStep(step: number, rule: TileRule): number {
  return rule === "share" ? SHARES[step] ?? 0 : step / CURVE_STEPS;
}

/** The step whose threshold, or share, is nearest. */
export function nearestStep(value: number, rule: TileRule): number {
  if (rule === "threshold") return Math.round(value * CURVE_STEPS);
  const distance = (share: number): number => Math.abs(share - value);
  return SHARES.reduce(
    (best, share, step) => distance(share) < distance(SHARES[best] ?? 0) ? step : best,
    0,
  );
}

/**
 * The first step that takes each tile of a row, as `sx_select_tiles` takes them.
 *
 * @param mass Of the tiles that the row sees, the first one being the sink and the last the diagonal.
 */
export function stepsOf(mass: Float32Array, rule: TileRule): Uint16Array {
  const steps = new Uint16Array(mass.length).fill(CURVE_STEPS);
  const last = mass.length - 1;
  if (last < 0) return steps;
  let total = 0;
  for (const part of mass) total += part;
  if (rule === "share") return byShare(mass, { steps, total });
  const at = (tile: number): number => mass[tile] ?? 0;
  steps[0] = steps[last] = 0;
  let taken = last === 0 ? at(0) : at(0) + at(last);
  const order = Array.from({ length: Math.max(0, last - 1) }, (_, i) => i + 1)
    .filter((tile) => at(tile) > 0)
    .sort((a, b) => at(b) - at(a) || a - b);
  let step = 0;
  for (const tile of order) {
    // The op compares with a threshold of 32 bits.
    while (
      step < CURVE_STEPS && !(taken < Math.fround(thresholdOfStep(step, rule)) * total)
    ) step++;
    steps[tile] = step;
    taken += at(tile);
  }
  return steps;
}

/** Each tile by itself; the row's own one is always taken. */
function byShare(
  mass: Float32Array,
  { steps, total }: { steps: Uint16Array; total: number },
): Uint16Array {
  const last = mass.length - 1;
  for (let tile = 0; tile < last; tile++) {
    const part = mass[tile] ?? 0;
    let [low, high] = [0, CURVE_STEPS];
    while (low < high) {
      const middle = (low + high) >> 1;
      // Shares fall, and the op compares with one of 32 bits.
      if (part >= Math.fround(SHARES[middle] ?? 0) * total) high = middle;
      else low = middle + 1;
    }
    steps[tile] = low;
  }
  steps[last] = 0;
  return steps;
}
