/**
 * Python's rounding and printing of floating-point numbers: `round(x, digits)` of
 * `Objects/floatobject.c` and `repr(x)`.
 *
 * @module
 */
import { invariant } from "../../lib/errors.ts";

const MANTISSA_BITS = 52n;
const EXPONENT_BIAS = 1075;

/**
 * A number as `repr` prints it: the shortest digits that read back, `.0` for whole numbers, an
 * exponent below 1e-4 and from 1e16.
 *
 * @param value Any number.
 * @returns Its text, for example `100.0`, `33.33`, `1e-05`, `nan`.
 */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  if (value === 0) return "0.0";
  // Both languages print the shortest digits that read back; only the layout differs.
  const parts = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential());
  invariant(parts, `${value} has an exponential form`);
  const [, sign = "", first = "", rest = "", exponentText = ""] = parts;
  const digits = first + rest;
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    const mantissa = rest === "" ? first : `${first}.${rest}`;
    return `${sign}${mantissa}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/**
 * A finite number rounded to decimal places as `round` does: by the exact value of the double, an
 * exact tie to the even digit. (`toFixed` rounds such ties up.)
 *
 * @param value A finite number.
 * @param digits Decimal places, 0 to 22.
 * @returns The double nearest to the rounded decimal number.
 */
export function roundHalfEven(value: number, digits: number): number {
  invariant(Number.isFinite(value), "a finite number is rounded");
  if (value === 0) return value;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, Math.abs(value));
  const raw = bits.getBigUint64(0);
  const biased = Number(raw >> MANTISSA_BITS);
  const fraction = raw & ((1n << MANTISSA_BITS) - 1n);
  const mantissa = biased === 0 ? fraction : fraction | (1n << MANTISSA_BITS);
  const exponent = Math.max(biased, 1) - EXPONENT_BIAS;
  if (exponent >= 0) return value;
  const scaled = mantissa * 10n ** BigInt(digits);
  const divisor = 1n << BigInt(-exponent);
  const remainder = scaled % divisor;
  let quotient = scaled / divisor;
  const twice = remainder * 2n;
  if (twice > divisor || (twice === divisor && quotient % 2n === 1n)) quotient++;
  return Math.sign(value) * Number(`${quotient}e-${digits}`);
}
