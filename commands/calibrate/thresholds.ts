/**
 * Thresholds of heads from their curves: a share of the true attention for each, as XAttention's
 * authors profile a model (arXiv 2503.16428), or tiles where they keep most.
 *
 * @module
 */
import { CURVE_STEPS, thresholdOfStep } from "../../lib/attention/curve_steps.ts";
import { type HeadCurve, MassCurves } from "../../lib/attention/mass_curves.ts";
import { PLAN_DEFAULTS } from "../../lib/attention/plan.ts";
import type { Threshold, ThresholdTable, TileRule } from "../../lib/attention/thresholds.ts";
import { invariant } from "../../lib/errors.ts";

/** What found numbers are compared with unless something else is given. */
export const COMPARED: Readonly<Record<TileRule, Exclude<Threshold, ThresholdTable>>> = {
  threshold: PLAN_DEFAULTS.threshold,
  share: { share: 0.05 },
};

/** A step of thresholds, or of shares, for each layer and head: see `thresholdOfStep()`. */
export type HeadSteps = readonly (readonly number[])[];

/** Below it shares are 0. */
const SMALLEST = 1e-6;

/** What thresholds are to reach. */
export type Goal =
  /** Each head keeps at least this share of its attention, in each prompt. */
  | { readonly kind: "keep"; readonly share: number }
  /** All heads together compute at most this share of the tiles. */
  | { readonly kind: "density"; readonly density: number }
  /** All heads keep at least this share on average, with as few tiles as that takes. */
  | { readonly kind: "mean keep"; readonly share: number };

/** What a selection takes and keeps, of one head or on average. */
export interface Kept {
  /** Share of the tiles that are computed. */
  readonly density: number;
  /** Share of the true attention that they hold. */
  readonly kept: number;
}

/** Calls with each layer and head, and gives what that gives in the same order. */
function mapHeads<T>(
  { layers, heads }: { layers: number; heads: number },
  map: (layer: number, head: number) => T,
): T[][] {
  return Array.from(
    { length: layers },
    (_, layer) => Array.from({ length: heads }, (_, head) => map(layer, head)),
  );
}

/** The smallest step at which a head keeps a share. */
export function stepKeeping({ kept }: HeadCurve, share: number): number {
  const step = kept.findIndex((part) => part >= share);
  return step < 0 ? CURVE_STEPS : step;
}

/**
 * The steps of all heads.
 *
 * @param prompts The curves of each prompt; at least one. @param worth Of each layer's attention, 0 to
 * 1, for a density of shares; undefined where attention is worth the same in all.
 */
export function chooseSteps(
  prompts: readonly MassCurves[],
  goal: Goal,
  worth?: readonly number[],
): HeadSteps {
  const pooled = poolCurves(prompts);
  if (worth !== undefined) {
    invariant(goal.kind === "density", "what layers are worth is for a density");
    return weighShares(pooled, { density: goal.density, worth });
  }
  if (goal.kind === "keep") {
    return mapHeads(pooled, (layer, head) => {
      const steps = prompts.map((curves) => stepKeeping(curves.of(layer, head), goal.share));
      // The mean, up to the next step: no head keeps less for the sake of a round number.
      return Math.ceil(steps.reduce((sum, step) => sum + step, 0) / steps.length);
    });
  }
  return spreadTiles(pooled, goal);
}

/** The curves of all prompts as of one. */
export function poolCurves(prompts: readonly MassCurves[]): MassCurves {
  const [first] = prompts;
  const { layers = 0, heads = 0, rule = "threshold" } = first ?? {};
  const pooled = new MassCurves({ layers, heads, rule });
  for (const curves of prompts) pooled.merge(curves);
  return pooled;
}

/** Points for each power of ten, at which a share for all layers is tried. */
const TRIALS = 500;

/**
 * One share for all heads but for what their layer is worth: where attention counts half, a tile must
 * hold twice as much. The smallest one that computes at most the density.
 */
function weighShares(
  curves: MassCurves,
  { density, worth }: { density: number; worth: readonly number[] },
): HeadSteps {
  const all = mapHeads(curves, (layer, head) => curves.of(layer, head));
  const stepsAt = (trial: number): number[][] => {
    const share = 10 ** (-trial / TRIALS);
    return mapHeads(curves, (layer) => {
      const own = share / (worth[layer] ?? 0);
      let step = 0;
      while (step < CURVE_STEPS && thresholdOfStep(step, curves.rule) > own) step++;
      return step;
    });
  };
  let [low, high] = [0, Math.ceil(-Math.log10(SMALLEST) * TRIALS)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (meanOf(all, stepsAt(middle)).density > density) high = middle - 1;
    else low = middle;
  }
  return stepsAt(low);
}

/** From one step to a later one of a head: what that adds. */
interface Stretch {
  readonly layer: number;
  readonly head: number;
  readonly from: number;
  readonly to: number;
  /** Share of the head's tiles, and of its attention. */
  readonly tiles: number;
  readonly kept: number;
}

/** Gives tiles to heads where they keep most for each tile, until a goal is reached. */
function spreadTiles(curves: MassCurves, goal: Exclude<Goal, { kind: "keep" }>): HeadSteps {
  const all = mapHeads(curves, (layer, head) => curves.of(layer, head));
  const steps = mapHeads(curves, () => 0);
  const count = curves.layers * curves.heads;
  const now = meanOf(all, steps);
  let [density, kept] = [now.density * count, now.kept * count];
  const stretches = all.flatMap((heads, layer) =>
    heads.flatMap((curve, head) => stretchesOf(curve, { layer, head }))
  );
  // Of equal worth, the earlier layer and head: the same file every time.
  stretches.sort((a, b) => worth(b) - worth(a) || a.layer - b.layer || a.head - b.head);
  const isDone = (): boolean => goal.kind === "mean keep" && kept >= goal.share * count;
  for (const stretch of stretches) {
    if (isDone()) break;
    const { layer, head, from } = stretch;
    const [curve, row] = [all[layer]?.[head], steps[layer]];
    if (curve === undefined || row === undefined || row[head] !== from) continue;
    for (let step = from + 1; step <= stretch.to && !isDone(); step++) {
      const before = row[head] ?? 0;
      const tiles = densityAt(curve, step) - densityAt(curve, before);
      if (goal.kind === "density" && density + tiles > goal.density * count) break;
      density += tiles;
      kept += (curve.kept[step] ?? 0) - (curve.kept[before] ?? 0);
      row[head] = step;
    }
  }
  return steps;
}

function worth({ tiles, kept }: Stretch): number {
  return kept / tiles;
}

/** The stretches of a curve's upper hull: each is worth less than the one before it. */
function stretchesOf(curve: HeadCurve, place: { layer: number; head: number }): Stretch[] {
  const hull: Stretch[] = [];
  const between = (from: number, to: number): Stretch => ({
    ...{ ...place, from, to },
    tiles: densityAt(curve, to) - densityAt(curve, from),
    kept: (curve.kept[to] ?? 0) - (curve.kept[from] ?? 0),
  });
  let last = 0;
  for (let step = 1; step <= CURVE_STEPS; step++) {
    // A step that takes no further tile is worth nothing, and costs nothing.
    if (densityAt(curve, step) <= densityAt(curve, last)) continue;
    let next = between(last, step);
    for (let top = hull.at(-1); top !== undefined && worth(top) <= worth(next); top = hull.at(-1)) {
      hull.pop();
      next = between(top.from, step);
    }
    hull.push(next);
    last = step;
  }
  return hull;
}

function densityAt({ tiles }: HeadCurve, step: number): number {
  const all = tiles[CURVE_STEPS] ?? 0;
  return all === 0 ? 1 : (tiles[step] ?? 0) / all;
}

/**
 * Steps as a table of thresholds, or of shares.
 *
 * @param run `lastThreshold` stands in the last layer, which selects nothing in phase 1, as its
 * attention is not needed there.
 */
export function tableOf(
  steps: HeadSteps,
  run: {
    stride: number;
    rule: TileRule;
    model: string | null;
    layerCount: number;
    lastThreshold: number;
  },
): ThresholdTable {
  const { stride, rule, model, layerCount, lastThreshold } = run;
  const heads = steps[0] ?? [];
  const layers = Array.from(
    { length: layerCount },
    (_, layer) =>
      steps[layer]?.map((step) => thresholdOfStep(step, rule)) ?? heads.map(() => lastThreshold),
  );
  return { stride, ...(rule === "share" ? { rule } : {}), layers, model };
}

/** What steps take and keep, head by head. */
export function keptBy(curves: MassCurves, steps: HeadSteps): Kept[][] {
  return mapHeads(curves, (layer, head) => {
    const curve = curves.of(layer, head);
    const step = steps[layer]?.[head] ?? 0;
    return { density: densityAt(curve, step), kept: curve.kept[step] ?? 0 };
  });
}

/** The mean over heads: as many of the tiles, and of the queries, fall to each. */
export function meanKept(heads: readonly Kept[]): Kept {
  const mean = (of: (kept: Kept) => number): number =>
    heads.length === 0 ? 0 : heads.reduce((sum, one) => sum + of(one), 0) / heads.length;
  return { density: mean(({ density }) => density), kept: mean(({ kept }) => kept) };
}

function meanOf(curves: readonly (readonly HeadCurve[])[], steps: HeadSteps): Kept {
  return meanKept(
    curves.flatMap((heads, layer) =>
      heads.map((curve, head) => {
        const step = steps[layer]?.[head] ?? 0;
        return { density: densityAt(curve, step), kept: curve.kept[step] ?? 0 };
      })
    ),
  );
}
