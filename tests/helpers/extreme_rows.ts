/**
 * Rows that are hard to round to 8 bits.
 *
 * @module
 */
import type { Random } from "./random.ts";

/** What is done to the rows of a case, in turn: sizes near both ends of f32, zeros, an outlier, faults. */
const ROWS: readonly ((row: Float32Array) => void)[] = [
  () => {},
  (row) => row.fill(0),
  (row) => row.fill(-0),
  (row) => row.set([3e4]),
  (row) => scaleBy(row, 2 ** 99),
  (row) => scaleBy(row, 2 ** -98),
  (row) => scaleBy(row, 2 ** -104),
  (row) => scaleBy(row, 2 ** -140),
  (row) => row.set([NaN], row.length - 1),
  (row) => row.set([-Infinity]),
  (row) => scaleBy(row, 2 ** -9),
];

function scaleBy(row: Float32Array, factor: number): void {
  row.forEach((value, i) => row[i] = value * factor);
}

/** What makes the values of a case with rows of `dim` numbers. */
export function extremeRows(
  dim: number,
): (count: number, random: Random) => Float32Array<ArrayBuffer> {
  return (count, random) => {
    const values = random.floats(count, 1);
    for (let r = 0; r < count / dim; r++) {
      ROWS[r % ROWS.length]?.(values.subarray(r * dim, (r + 1) * dim));
    }
    return values;
  };
}
