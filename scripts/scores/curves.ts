/**
 * Density and kept attention of every method and rule of `try_scores.ts`, step by step.
 *
 * @module
 */
import type { SelectionInfo } from "../../mod.ts";
import { METHODS } from "./methods.ts";
import { type Choice, type Rule, RULES, STEPS, stepsOfRow } from "./rules.ts";

/** What a step takes beside those before it. */
export interface Curve {
  readonly tiles: number[];
  /** In queries: a query's softmax adds up to 1. */
  readonly mass: number[];
}

/** By {@linkcode nameOf}. */
export type Curves = Record<string, Curve>;

/** How tiles are chosen, without the step. */
export interface Way extends Choice {
  readonly method: string;
}

const FORCED = [
  { sink: true, near: 0 },
  { sink: true, near: 1 },
  { sink: false, near: 0 },
  { sink: false, near: 1 },
] as const;

/** A way's name, for example `own:threshold`, `own:share-sink+1`. */
export function nameOf({ method, rule, sink, near }: Way): string {
  return `${method}:${rule}${sink ? "" : "-sink"}${near === 0 ? "" : `+${near}`}`;
}

/** The way of a name. @throws {RangeError} If there is none. */
export function wayOf(name: string): Way {
  const parts = /^([^:]+):([a-z]+)(-sink)?(?:\+(\d))?$/.exec(name) ?? [];
  const [, method = "", rule = "", noSink, near = "0"] = parts;
  const known = RULES.find((one) => one === rule);
  if (known === undefined || !Object.hasOwn(METHODS, method)) {
    throw new RangeError(`Cannot use way ${name} as it must be METHOD:RULE[-sink][+TILES]`);
  }
  return { method, rule: known, sink: noSink === undefined, near: Number(near) };
}

/** Adds the rows of a call to the curves of all ways. */
export async function addRows(
  curves: Curves,
  info: SelectionInfo,
  options: { methods: readonly string[]; rules: readonly Rule[] },
): Promise<void> {
  const { head } = info;
  const natural = await info.reader.exactMass(head);
  for (const method of options.methods) {
    const exact = await METHODS[method]?.exact?.(head, info) ?? natural;
    const scores = await METHODS[method]?.score(head, info) ?? new Float32Array(0);
    for (const rule of options.rules) {
      for (const forced of FORCED) {
        const curve = curves[nameOf({ method, rule, ...forced })] ??= emptyCurve();
        eachRow(info, (begin, end) => {
          const steps = stepsOfRow(scores.subarray(begin, end), { rule, ...forced });
          steps.forEach((step, i) => {
            curve.tiles[step] = (curve.tiles[step] ?? 0) + 1;
            curve.mass[step] = (curve.mass[step] ?? 0) + (exact[begin + i] ?? 0);
          });
        });
      }
    }
  }
}

/**
 * The tiles that a way takes up to a step.
 *
 * @throws {RangeError} If its tiles are not those of keys in their order, which attention computes.
 */
export async function tilesOf(
  info: SelectionInfo,
  way: Way & { step: number },
): Promise<Uint8Array> {
  const method = METHODS[way.method];
  if (method?.exact !== undefined) {
    throw new RangeError(`Cannot run ${way.method} as its tiles are of permuted keys: try 'kept'`);
  }
  const scores = await method?.score(info.head, info) ?? new Float32Array(0);
  const tiles = new Uint8Array(info.rows * info.columns);
  eachRow(info, (begin, end) => {
    stepsOfRow(scores.subarray(begin, end), way).forEach((step, i) => {
      if (step <= way.step) tiles[begin + i] = 1;
    });
  });
  return tiles;
}

/** The step whose density is nearest, and what it keeps. */
export function nearestStep(
  curve: Curve,
  density: number,
): { step: number; density: number; kept: number } {
  const all = curve.tiles.reduce((sum, tiles) => sum + tiles, 0);
  const mass = curve.mass.reduce((sum, part) => sum + part, 0);
  let best = { step: 0, density: Infinity, kept: 0 };
  let [tiles, kept] = [0, 0];
  for (let step = 0; step <= STEPS; step++) {
    tiles += curve.tiles[step] ?? 0;
    kept += curve.mass[step] ?? 0;
    const one = { step, density: tiles / all, kept: kept / mass };
    if (Math.abs(one.density - density) < Math.abs(best.density - density)) best = one;
  }
  return best;
}

/** What is kept at a density, between steps by a line; undefined below the least one. */
export function keptAt(curve: Curve, density: number): number | undefined {
  const all = curve.tiles.reduce((sum, tiles) => sum + tiles, 0);
  const mass = curve.mass.reduce((sum, part) => sum + part, 0);
  let [tiles, kept] = [0, 0];
  for (let step = 0; step <= STEPS; step++) {
    const [more, weight] = [curve.tiles[step] ?? 0, curve.mass[step] ?? 0];
    if ((tiles + more) / all >= density) {
      if (step === 0) return undefined;
      return (kept + weight * (density * all - tiles) / Math.max(1, more)) / mass;
    }
    tiles += more;
    kept += weight;
  }
  return 1;
}

function emptyCurve(): Curve {
  const zeros = () => new Array<number>(STEPS + 1).fill(0);
  return { tiles: zeros(), mass: zeros() };
}

function eachRow(
  { rows, columns, diagonal }: SelectionInfo,
  row: (begin: number, end: number) => void,
): void {
  for (let i = 0; i < rows; i++) row(i * columns, i * columns + diagonal + i + 1);
}
