/**
 * What RULER's generators use of NumPy and SciPy: the legacy generator's `randint`, the depths of
 * needles, and the zeta function.
 *
 * @module
 */
import { MersenneTwister } from "./mersenne.ts";

/** NumPy's legacy generator, `numpy.random.seed(seed)`. */
export class LegacyRandom {
  readonly #twister: MersenneTwister;

  constructor(seed: number) {
    this.#twister = MersenneTwister.fromWord(seed);
  }

  /** A whole number of [low, high), for ranges below 2^32. @param range `low` below `high`. */
  randint(range: { low: number; high: number }): number {
    const largest = range.high - range.low - 1;
    if (largest === 0) return range.low;
    const mask = 0xffffffff >>> Math.clz32(largest);
    let value = (this.#twister.next() & mask) >>> 0;
    while (value > largest) value = (this.#twister.next() & mask) >>> 0;
    return range.low + value;
  }
}

/** `numpy.linspace(0, end, num=count)`: the last number is `end` itself. */
export function linspace(end: number, count: number): number[] {
  const step = end / (count - 1);
  return Array.from({ length: count }, (_, i) => i === count - 1 ? end : i * step);
}

/**
 * `numpy.round(numpy.linspace(0, 100, num=40)).astype(int)`: where needles may lie, in percent. None
 * is halfway between two whole numbers, where NumPy rounds in another way.
 */
export const DEPTHS: readonly number[] = linspace(100, 40).map(Math.round);

/** Bernoulli numbers' quotients (2k)! / B_2k of the Euler-Maclaurin sum, k from 1 to 12. */
const EULER_MACLAURIN: readonly number[] = [
  12.0,
  -720.0,
  30240.0,
  -1209600.0,
  47900160.0,
  -1.8924375803183791606e9,
  7.47242496e10,
  -2.950130727918164224e12,
  1.1646782814350067249e14,
  -4.5979787224074726105e15,
  1.8152105401943546773e17,
  -7.1661652561756670113e18,
];
/** Binary digits of an intermediate power: enough for a double after rounding once. */
const POWER_DIGITS = 120n;

/**
 * base ** -exponent, rounded once, as a good C library has it; `**` is a digit off at times.
 *
 * @param base A whole number above 0. @param exponent Exact if it is a multiple of one half.
 */
export function inversePower(base: number, exponent: number): number {
  const twice = 2 * exponent;
  if (!Number.isInteger(twice) || twice < 0 || twice > 64) return base ** -exponent;
  const square = (1n << (2n * POWER_DIGITS)) / BigInt(base) ** BigInt(twice);
  return Number(squareRoot(square)) / 2 ** Number(POWER_DIGITS);
}

/** The whole part of a square root, by Newton's method. */
function squareRoot(square: bigint): bigint {
  if (square === 0n) return 0n;
  let root = 1n << BigInt(Math.ceil(square.toString(2).length / 2));
  for (let next = (root + square / root) >> 1n; next < root; next = (root + square / root) >> 1n) {
    root = next;
  }
  return root;
}

/** Cephes' quotient of polynomials in 1/x for zeta(x) - 1, x from 1 to 10; the largest power first. */
const ZETA_NUMERATOR: readonly number[] = [
  5.85746514569725319540E11,
  2.57534127756102572888E11,
  4.87781159567948256438E10,
  5.15399538023885770696E9,
  3.41646073514754094281E8,
  1.60837006880656492731E7,
  5.92785467342109522998E5,
  1.51129169964938823117E4,
  2.01822444485997955865E2,
];
const ZETA_DENOMINATOR: readonly number[] = [
  1,
  3.90497676373371157516E11,
  5.22858235368272161797E10,
  5.64451517271280543351E9,
  3.39006746015350418834E8,
  1.79410371500126453702E7,
  5.66666825131384797029E5,
  1.60382976810944131506E4,
  1.96436237223387314144E2,
];

/**
 * Riemann's zeta function between 1 and 10, to the last digit as SciPy has it: at whole numbers the
 * nearest double, else Cephes' approximation.
 */
export function zeta(x: number): number {
  if (Number.isInteger(x)) return zetaOfWhole(x);
  const evaluate = (factors: readonly number[]): number =>
    factors.reduce((sum, factor) => sum * (1 / x) + factor, 0);
  const denominator = 2 ** x * (x - 1) * evaluate(ZETA_DENOMINATOR);
  return x * evaluate(ZETA_NUMERATOR) / denominator + 1;
}

/** Terms that are summed one by one before the Euler-Maclaurin formula takes over. */
const ZETA_TERMS = 10;

function zetaOfWhole(x: number): number {
  const terms = Array.from({ length: ZETA_TERMS }, (_, i) => inversePower(i + 1, x));
  const last = inversePower(ZETA_TERMS, x);
  terms.push(last * ZETA_TERMS / (x - 1), -0.5 * last);
  let [factor, power, k] = [x, last / ZETA_TERMS, 0];
  for (const quotient of EULER_MACLAURIN) {
    terms.push(factor * power / quotient);
    factor *= (x + k + 1) * (x + k + 2);
    power /= ZETA_TERMS ** 2;
    k += 2;
  }
  return compensatedSum(terms);
}

/** A sum that carries its rounding errors along (Neumaier 1974). */
function compensatedSum(terms: readonly number[]): number {
  let [sum, lost] = [0, 0];
  for (const term of terms) {
    const next = sum + term;
    lost += Math.abs(sum) >= Math.abs(term) ? (sum - next) + term : (term - next) + sum;
    sum = next;
  }
  return sum + lost;
}
