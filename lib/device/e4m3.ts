/**
 * Conversion between e4m3 codes and 32-bit floats on the host.
 *
 * A code has a sign, 4 bits of exponent with bias 7 and 3 of mantissa: multiples of 2^-9 up to 448
 * without infinities, NaN being 0x7f (OCP 8-bit floating point, "E4M3"). Bulk conversion on the device
 * is `lib/ops/quantize_rows.ts`.
 *
 * @module
 */

/** The largest number. */
export const E4M3_MAX = 448;
const NAN_CODE = 0x7f;
const SIGN = 0x80;

/** The number of each code. */
export const E4M3_VALUES: readonly number[] = Object.freeze(
  Array.from({ length: 256 }, (_, code) => {
    const [exponent, mantissa] = [code >> 3 & 15, code & 7];
    const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
    const value = (code & NAN_CODE) === NAN_CODE ? NaN : size;
    return code < SIGN ? value : -value;
  }),
);

/** A number, and the word of it that has its exponent. */
const NUMBER = new Float64Array(1);
const HIGH_WORD = new Uint32Array(NUMBER.buffer, 4);
/** Of the exponents -6 to 8, one over the step of numbers. */
const STEPS: readonly number[] = Array.from({ length: 15 }, (_, i) => 2 ** (9 - i));

/** The code of the nearest number, of two the even one; above 448 it is 448's. */
export function e4m3Code(value: number): number {
  if (Number.isNaN(value)) return NAN_CODE;
  const sign = value < 0 || Object.is(value, -0) ? SIGN : 0;
  const size = Math.min(Math.abs(value), E4M3_MAX);
  // Numbers below 2^-6 have the step of those above it.
  NUMBER[0] = size;
  const place = Math.max(0, ((HIGH_WORD[0] ?? 0) >>> 20) - 1017);
  return sign | place * 8 + roundToEven(size * (STEPS[place] ?? NaN));
}

/** Whether any code among some bytes is NaN. */
export function hasNanCode(codes: Uint8Array<ArrayBuffer>): boolean {
  const isNan = (code: number) => (code & NAN_CODE) === NAN_CODE;
  // Words begin at multiples of 4.
  const begin = -codes.byteOffset & 3;
  const words = Math.floor((codes.length - begin) / 4);
  if (words < 1) return codes.some(isNan);
  if (codes.subarray(0, begin).some(isNan) || codes.subarray(begin + 4 * words).some(isNan)) {
    return true;
  }
  // Four at a time: one more carries into the sign of just those that are NaN.
  const four = new Uint32Array(codes.buffer, codes.byteOffset + begin, words);
  for (let i = 0; i < words; i++) {
    if ((((four[i] ?? 0) & 0x7f7f7f7f) + 0x01010101 & 0x80808080) !== 0) return true;
  }
  return false;
}

function roundToEven(value: number): number {
  const low = Math.floor(value);
  const above = value - low;
  return above > 0.5 || (above === 0.5 && low % 2 === 1) ? low + 1 : low;
}
