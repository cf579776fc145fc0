/**
 * Weights whose file stores them otherwise than kernels take them: blocks of 8-bit numbers, and rows
 * in another order. They are decoded a stretch of rows at a time.
 *
 * @module
 */
import { elementsToFloats, type FloatDType } from "../device/elements.ts";
import { invariant } from "../errors.ts";
import type { WeightEntry } from "./weight_entry.ts";
import type { FoundWeight } from "./weight_lookup.ts";

/** Elements that are decoded at once, at most, unless a row has more. */
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
  /** Overwritten by the next ones. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whether a weight has to be decoded: what is neither mapped nor in f64 is. */
export function needsDecoding({ entry, dtype }: FoundWeight): boolean {
  return is8Bit(dtype) || entry.rowPairs !== undefined;
}

function is8Bit(dtype: FoundWeight["dtype"]): dtype is "q8_0" | "i8" | "f8e4m3" {
  return dtype === "q8_0" || dtype === "i8" || dtype === "f8e4m3";
}

/**
 * All rows of a weight that needs decoding, from the first one on, the first stretch being the longest;
 * 8-bit numbers become f32.
 */
export function* decodeRows(found: FoundWeight): Generator<DecodedRows> {
  const { entry, dtype } = found;
  invariant(dtype !== "f64", "weights in f64 are in the usual order");
  const [rows = 1] = entry.shape;
  const rowElements = entry.shape.reduce((product, extent) => product * extent, 1) / rows;
  const step = Math.min(rows, Math.max(1, Math.floor(MAX_ELEMENTS / rowElements)));
  const rowBytes = (entry.end - entry.begin) / rows;
  // New memory for every stretch would cost more than what is done with it.
  const copied = new Uint8Array(step * rowBytes);
  const floats = new Float32Array(is8Bit(dtype) ? step * rowElements : 0);
  const scales = is8Bit(dtype) && dtype !== "q8_0" ? storedScales(found) : undefined;
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    const bytes = copied.subarray(0, count * rowBytes);
    copyRows(bytes, { entry, start, count });
    if (!is8Bit(dtype)) {
      yield { start, count, dtype, bytes };
    } else {
      if (scales === undefined) decodeQ8(floats, bytes);
      else decodeRowsOf8(floats, { bytes, dtype, scales: scales.subarray(start, start + count) });
      const decoded = new Uint8Array(floats.buffer, 0, 4 * count * rowElements);
      yield { start, count, dtype: "f32", bytes: decoded };
    }
  }
}

/** Copies some rows in the order that kernels take. */
function copyRows(
  out: Uint8Array,
  rows: { entry: WeightEntry; start: number; count: number },
): void {
  const { entry: { begin, file, rowPairs }, start, count } = rows;
  const rowBytes = out.byteLength / count;
  const all = file.bytes;
  if (rowPairs === undefined) {
    out.set(all.subarray(begin + start * rowBytes, begin + (start + count) * rowBytes));
    return;
  }
  for (let i = 0; i < count; i++) {
    const from = begin + pairedRow(start + i, rowPairs.headDim) * rowBytes;
    out.set(all.subarray(from, from + rowBytes), i * rowBytes);
  }
}

/** Where a row lies whose head has its pairs side by side. */
function pairedRow(row: number, headDim: number): number {
  const d = row % headDim;
  const half = headDim / 2;
  return row - d + 2 * (d % half) + Math.floor(d / half);
}

/** Each number times the scale of its row, rounded to f32. */
function decodeRowsOf8(
  out: Float32Array,
  rows: { bytes: Uint8Array<ArrayBuffer>; dtype: string; scales: Float32Array },
): void {
  const { bytes, dtype, scales } = rows;
  const numbers = dtype === "f8e4m3"
    ? elementsToFloats(bytes, dtype)
    : new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = numbers.length / scales.length;
  for (const [row, scale] of scales.entries()) {
    const end = (row + 1) * width;
    for (let i = row * width; i < end; i++) out[i] = scale * (numbers[i] ?? 0);
  }
}

/** The scales of a weight in 8 bits: one for each row. */
export function storedScales({ scales }: Pick<FoundWeight, "scales">): Float32Array<ArrayBuffer> {
  invariant(scales !== undefined, "8 bits have scales");
  const { entry: { file, begin, end }, dtype } = scales;
  return elementsToFloats(file.bytes.slice(begin, end), dtype);
}

/** Scale times number: exact in f32, as a product of 11 and 8 bits. */
function decodeQ8(out: Float32Array, bytes: Uint8Array<ArrayBuffer>): void {
  const blocks = bytes.byteLength / BLOCK_BYTES;
  const scales = new Float16Array(bytes.buffer);
  const numbers = new Int8Array(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const scale = scales[block * (BLOCK_BYTES / 2)] ?? 0;
    const from = block * BLOCK_BYTES + 2;
    const to = block * BLOCK_ELEMENTS;
    for (let i = 0; i < BLOCK_ELEMENTS; i++) out[to + i] = scale * (numbers[from + i] ?? 0);
  }
}
