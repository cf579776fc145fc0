/**
 * What a threshold of the selection keeps of the true attention, head by head: for each step of
 * thresholds, or of shares, how many tiles it takes and how much of the softmax's weight they hold.
 *
 * Sums are whole numbers, so that they are the same in any order: over rows, chunks, ranks and
 * prompts.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { invariant } from "../errors.ts";
import { CURVE_STEPS, stepsOf } from "./curve_steps.ts";
import type { TileRule } from "./thresholds.ts";

/** Of true mass, in queries; a tile has up to 128 of them. */
const UNIT = 2 ** -20;

/** Numbers of a head: one for each step. */
const HEAD_NUMBERS = CURVE_STEPS + 1;

/** A head's curve: numbers by step, each the step's own beside those before it. */
export interface HeadCurve {
  /** Tiles that the threshold takes. */
  readonly tiles: Float64Array;
  /** The share of all true mass that they hold, 0 to 1. */
  readonly kept: Float64Array;
}

/** What crosses between processes: base64 of 64-bit floats, [layers, heads, steps + 1]. */
export interface WireCurves {
  /** Layers that are measured: all but the last one. */
  readonly layers: number;
  /** Query heads. */
  readonly heads: number;
  /** Tiles that each step takes beside those of the steps before it. */
  readonly tiles: string;
  /** Their true mass, in units of 2^-20 of a query. */
  readonly mass: string;
  /** What the steps are of, unless they are thresholds. */
  readonly rule?: "share" | undefined;
}

/** Rows of tiles of one layer. */
export interface MeasuredTiles {
  readonly layer: number;
  /** [heads, rows, columns]. */
  readonly shape: readonly number[];
  /** The antidiagonal mass, by which a selection decides. */
  readonly mass: Float32Array;
  /** The exact one. */
  readonly exact: Float32Array;
  /** The first and the last column that a row sees. */
  readonly seenBy: (row: number) => readonly [first: number, last: number];
}

/** The curves of some layers and heads. */
export class MassCurves {
  readonly layers: number;
  readonly heads: number;
  /** What the steps are of. */
  readonly rule: TileRule;
  readonly #tiles: Float64Array<ArrayBuffer>;
  readonly #mass: Float64Array<ArrayBuffer>;

  constructor(sizes: { layers: number; heads: number; rule: TileRule }) {
    this.layers = sizes.layers;
    this.heads = sizes.heads;
    this.rule = sizes.rule;
    this.#tiles = new Float64Array(sizes.layers * sizes.heads * HEAD_NUMBERS);
    this.#mass = new Float64Array(this.#tiles.length);
  }

  /** What came from another process. */
  static fromWire(wire: WireCurves): MassCurves {
    const { layers, heads, tiles, mass } = wire;
    const curves = new MassCurves({ layers, heads, rule: wire.rule ?? "threshold" });
    decode(tiles, curves.#tiles);
    decode(mass, curves.#mass);
    return curves;
  }

  /** What crosses to another process, or into a file. */
  toWire(): WireCurves {
    const text = (numbers: Float64Array<ArrayBuffer>) =>
      Buffer.from(numbers.buffer).toString("base64");
    const { layers, heads, rule } = this;
    const sums = { layers, heads, tiles: text(this.#tiles), mass: text(this.#mass) };
    return rule === "share" ? { ...sums, rule } : sums;
  }

  /** Adds rows of tiles. */
  add(rows: MeasuredTiles): void {
    const { layer, shape: [heads = 0, rowCount = 0, columns = 0], mass, exact, seenBy } = rows;
    invariant(heads === this.heads && layer < this.layers, "curves have the model's heads");
    for (let head = 0; head < heads; head++) {
      const at = this.#placeOf(layer, head);
      for (let row = 0; row < rowCount; row++) {
        const [first, last] = seenBy(row);
        const begin = (head * rowCount + row) * columns;
        const seen = mass.subarray(begin + first, begin + last + 1);
        stepsOf(seen, this.rule).forEach((step, i) => {
          const weight = exact[begin + first + i] ?? 0;
          this.#tiles[at + step] = (this.#tiles[at + step] ?? 0) + 1;
          this.#mass[at + step] = (this.#mass[at + step] ?? 0) + Math.round(weight / UNIT);
        });
      }
    }
  }

  /** Adds the curves of other rows, or of other prompts. */
  merge(other: MassCurves): void {
    invariant(
      other.layers === this.layers && other.heads === this.heads && other.rule === this.rule,
      "curves of one model have the same sizes and steps",
    );
    addAll(this.#tiles, other.#tiles);
    addAll(this.#mass, other.#mass);
  }

  /** The curve of one head. */
  of(layer: number, head: number): HeadCurve {
    const at = this.#placeOf(layer, head);
    const tiles = cumulated(this.#tiles.subarray(at, at + HEAD_NUMBERS));
    const mass = cumulated(this.#mass.subarray(at, at + HEAD_NUMBERS));
    const all = mass[CURVE_STEPS] ?? 0;
    return { tiles, kept: mass.map((part) => all === 0 ? 1 : part / all) };
  }

  #placeOf(layer: number, head: number): number {
    return (layer * this.heads + head) * HEAD_NUMBERS;
  }
}

function cumulated(numbers: Float64Array): Float64Array {
  let sum = 0;
  return Float64Array.from(numbers, (number) => sum += number);
}

function addAll(to: Float64Array, from: Float64Array): void {
  from.forEach((number, i) => to[i] = (to[i] ?? 0) + number);
}

/** @throws {RangeError} If the text is not that of as many numbers. */
function decode(text: string, to: Float64Array<ArrayBuffer>): void {
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== to.byteLength) {
    throw new RangeError(
      `Cannot read curves as they must have ${to.byteLength} bytes: current value is ${bytes.length}`,
    );
  }
  new Uint8Array(to.buffer).set(bytes);
}
