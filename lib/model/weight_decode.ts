/**
 * Weights whose file stores them otherwise than kernels take them: blocks of 8-bit numbers, and rows
 * in another order. They are decoded a stretch of rows at a time.
 *
 * @module
 */
import type { FloatDType } from "../device/elements.ts";
import { invariant } from "../errors.ts";
import type { WeightEntry } from "./weight_entry.ts";
import type { FoundWeight } from "./weight_lookup.ts";

/** Elements that are decoded at once, at most; a row is never cut. */
const MAX_ELEMENTS = 1 << 22;
/** Q8_0: a scale in f16, then so many signed bytes. */
const BLOCK_ELEMENTS = 32;
const BLOCK_BYTES = 34;

/** Some rows as tensors take them. */
export interface DecodedRows {
  /** The first of them; a vector's rows are its elements. */
  readonly start: number;
  readonly count: number;
  readonly dtype: FloatDType;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whether a weight has to be decoded: what is neither mapped nor in f64 is. */
export function needsDecoding({ entry, dtype }: FoundWeight): boolean {
  return dtype === "q8_0" || entry.rowPairs !== undefined;
}

/** All rows of a weight that needs decoding, from the first one on; 8-bit numbers become f32. */
export function* decodeRows({ entry, dtype }: FoundWeight): Generator<DecodedRows> {
  invariant(dtype !== "f64", "weights in f64 are in the usual order");
  const [rows = 1] = entry.shape;
  const rowElements = entry.shape.reduce((product, extent) => product * extent, 1) / rows;
  const step = Math.max(1, Math.floor(MAX_ELEMENTS / rowElements));
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    const bytes = rowsInOrder(entry, { start, count, rows });
    if (dtype !== "q8_0") {
      yield { start, count, dtype, bytes };
    } else {
      const floats = decodeQ8(bytes);
      yield { start, count, dtype: "f32", bytes: new Uint8Array(floats.buffer) };
    }
  }
}

/** A copy of some rows, in the order that kernels take. */
function rowsInOrder(
  entry: WeightEntry,
  range: { start: number; count: number; rows: number },
): Uint8Array<ArrayBuffer> {
  const { start, count, rows } = range;
  const { begin, end, file, rowPairs } = entry;
  const rowBytes = (end - begin) / rows;
  const all = file.bytes;
  if (rowPairs === undefined) {
    return all.slice(begin + start * rowBytes, begin + (start + count) * rowBytes);
  }
  const out = new Uint8Array(count * rowBytes);
  for (let i = 0; i < count; i++) {
    const from = begin + pairedRow(start + i, rowPairs.headDim) * rowBytes;
    out.set(all.subarray(from, from + rowBytes), i * rowBytes);
  }
  return out;
}

/** Where a row lies whose head has its pairs side by side. */
function pairedRow(row: number, headDim: number): number {
  const d = row % headDim;
  const half = headDim / 2;
  return row - d + 2 * (d % half) + Math.floor(d / half);
}

/** Scale times number: exact in f32, as a product of 11 and 8 bits. */
function decodeQ8(bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const blocks = bytes.byteLength / BLOCK_BYTES;
  const scales = new Float16Array(bytes.buffer);
  const numbers = new Int8Array(bytes.buffer);
  const out = new Float32Array(blocks * BLOCK_ELEMENTS);
  for (let block = 0; block < blocks; block++) {
    const scale = scales[block * (BLOCK_BYTES / 2)] ?? 0;
    const from = block * BLOCK_BYTES + 2;
    const to = block * BLOCK_ELEMENTS;
    for (let i = 0; i < BLOCK_ELEMENTS; i++) out[to + i] = scale * (numbers[from + i] ?? 0);
  }
  return out;
}
