/**
 * Rules by which scores choose tiles, for `try_scores.ts`: each gives a tile the first of 200 steps at
 * which it is taken, so that one number sets the density.
 *
 * @module
 */

/** The last step takes all tiles. */
export const STEPS = 200;
/** Steps for each halving. */
const OCTAVE = 10;

/**
 * `threshold`: the largest tiles until they hold a share of the row. `budget`: a share of the row's
 * tiles. `max`: tiles that have a share of the row's largest score. `share`: tiles that have a share
 * of the row's sum.
 */
export const RULES = ["threshold", "budget", "max", "share"] as const;
/** A rule. */
export type Rule = typeof RULES[number];

/** A rule, and the tiles that are always taken beside a row's own. */
export interface Choice {
  readonly rule: Rule;
  /** Whether the row's first tile is. */
  readonly sink: boolean;
  /** How many tiles in front of the own one are. */
  readonly near: number;
}

/** The steps of one row. @param scores Of the tiles that it sees, the last one its own. */
export function stepsOfRow(scores: Float32Array, { rule, sink, near }: Choice): Uint16Array {
  const steps = new Uint16Array(scores.length).fill(STEPS);
  const last = scores.length - 1;
  const isForced = (tile: number): boolean => (sink && tile === 0) || tile >= last - near;
  const at = (tile: number): number => scores[tile] ?? 0;
  let [total, taken, top, count] = [0, 0, 0, 0];
  for (let tile = 0; tile <= last; tile++) {
    total += at(tile);
    top = Math.max(top, at(tile));
    if (!isForced(tile)) continue;
    steps[tile] = 0;
    taken += at(tile);
    count++;
  }
  if (rule === "max" || rule === "share") {
    const whole = rule === "max" ? top : total;
    for (let tile = sink ? 1 : 0; tile < last - near; tile++) {
      const step = Math.ceil(-Math.log2(at(tile) / whole) * OCTAVE);
      steps[tile] = Math.min(STEPS, Math.max(1, step));
    }
    return steps;
  }
  const order = Array.from({ length: scores.length }, (_, tile) => tile)
    .filter((tile) => !isForced(tile))
    .sort((a, b) => at(b) - at(a) || a - b);
  for (const tile of order) {
    const step = rule === "threshold"
      ? Math.floor(taken / total * STEPS) + 1
      : Math.ceil(++count / scores.length * STEPS);
    steps[tile] = Math.min(STEPS, step);
    taken += at(tile);
  }
  return steps;
}
