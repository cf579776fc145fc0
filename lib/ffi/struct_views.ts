/**
 * Memory for one C structure, and the structures that ops take.
 *
 * @module
 */
import { addressOf } from "./memory.ts";

/** The same bytes as numbers of the widths that structures have. */
export interface StructViews {
  readonly u64: BigUint64Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
}

/** Memory for one structure, zero-filled, 8-byte aligned; must be referenced while C reads it. */
export class StructMemory implements StructViews {
  readonly u64: BigUint64Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly f32: Float32Array<ArrayBuffer>;
  /** Where it is for C. */
  readonly address: bigint;

  constructor(byteLength: number) {
    const buffer = new ArrayBuffer(Math.ceil(byteLength / 8) * 8);
    this.u64 = new BigUint64Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.address = addressOf(this.u64);
  }
}

/**
 * Writes an `int64_t`: the low half is taken modulo 2^32 by the array itself.
 *
 * @param index Of the low half, in words of 4 bytes.
 * @param value A whole number of at most 53 bits.
 * @throws {RangeError} If it is another number: the array would make 0 of NaN, and C would take it.
 */
export function writeSize(words: Int32Array, index: number, value: number): void {
  if (!Number.isSafeInteger(value)) {
    throw new RangeError(
      `Cannot write a size for C as it must be a whole number of at most 53 bits: current value is ${value}`,
    );
  }
  words[index] = value;
  words[index + 1] = Math.floor(value / 0x1_0000_0000);
}

/**
 * Writes an `int32_t`.
 *
 * @throws {RangeError} If it is no whole number of 32 bits: the array would take it modulo 2^32.
 */
export function writeInt(words: Int32Array, index: number, value: number): void {
  if (value !== (value | 0)) {
    throw new RangeError(
      `Cannot write a number for C as it must be a whole number of 32 bits: current value is ${value}`,
    );
  }
  words[index] = value;
}
