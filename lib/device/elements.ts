/**
 * Conversion of element bytes to and from 32-bit floats on the host, rounding to nearest even.
 *
 * e4m3 is `e4m3.ts`'s; bfloat16 is the upper half of an IEEE 754 binary32; f16 is binary16. Little-endian, as the
 * devices are. Bulk conversion on the device is `lib/ops/convert.ts`.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { DType } from "./device.ts";
import { E4M3_VALUES, e4m3Code } from "./e4m3.ts";

/** The dtypes that hold floating-point numbers. */
export type FloatDType = Exclude<DType, "i32" | "i8">;

/** Whether a dtype holds floating-point numbers. */
export function isFloatDType(dtype: DType): dtype is FloatDType {
  return dtype !== "i32" && dtype !== "i8";
}

/**
 * Widens elements to f32.
 *
 * @param bytes Aligned to 4 bytes; shared with the result if the dtype is f32.
 */
export function elementsToFloats(bytes: Bytes, dtype: FloatDType): Float32Array<ArrayBuffer> {
  if (dtype === "f32") {
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }
  if (dtype === "f8e4m3") {
    const numbers = new Float32Array(bytes.length);
    for (let i = 0; i < numbers.length; i++) numbers[i] = E4M3_VALUES[bytes[i] ?? 0] ?? NaN;
    return numbers;
  }
  const count = bytes.byteLength / 2;
  if (dtype === "f16") {
    return new Float32Array(new Float16Array(bytes.buffer, bytes.byteOffset, count));
  }
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, count);
  const words = new Uint32Array(count);
  for (let i = 0; i < count; i++) words[i] = (halves[i] ?? 0) << 16;
  return new Float32Array(words.buffer);
}

/** Narrows f32 values to elements; NaN stays NaN. The bytes are shared if the dtype is f32. */
export function floatsToElements(values: Float32Array, dtype: FloatDType): Uint8Array {
  if (dtype === "f32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (dtype === "f16") return new Uint8Array(Float16Array.from(values).buffer);
  if (dtype === "f8e4m3") {
    // Not from(), which goes through an iterator and takes long.
    const codes = new Uint8Array(values.length);
    for (let i = 0; i < codes.length; i++) codes[i] = e4m3Code(values[i] ?? NaN);
    return codes;
  }
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) halves[i] = roundToBfloat16(words[i] ?? 0);
  return new Uint8Array(halves.buffer);
}

/** The upper half of a binary32's bits, rounded to nearest even; a NaN becomes a quiet one. */
function roundToBfloat16(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40;
  return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
}
