/**
 * Comparison of a kernel's numbers with its twin's: first where they are not finite, then how far
 * apart they are one by one, then as vectors (the stages of FlashMLA's tests/kernelkit/compare.py).
 *
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { assert } from "./assert.ts";

/** How far apart numbers may be. */
export interface Tolerance {
  /** |actual - expected| may be this, */
  readonly absolute: number;
  /** and this times |expected| more. */
  readonly relative: number;
  /** 1 - 2 a.e / (a.a + e.e) may be this. */
  readonly cosine: number;
}

/** How close outputs must be: by name, or else by dtype. */
export interface Tolerances {
  readonly byDtype: Readonly<Partial<Record<DType, Tolerance>>>;
  readonly byName?: Readonly<Record<string, Tolerance>>;
}

/** What is compared, for messages. */
export interface Subject {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Fails unless all numbers are close.
 *
 * @param actual The kernel's. @param options The twin's numbers, the limits, and the names.
 */
export function assertClose(
  actual: Float32Array,
  options: { expected: Float32Array; tolerance: Tolerance; subject: Subject },
): void {
  const { expected, tolerance, subject } = options;
  assert(
    actual.length === expected.length,
    `${subject.name} must have ${expected.length} numbers: current value is ${actual.length}`,
  );
  for (let i = 0; i < expected.length; i++) {
    const [a = 0, e = 0] = [actual[i], expected[i]];
    if (!(Number.isFinite(a) && Number.isFinite(e)) && !Object.is(a, e)) {
      fail(subject, { index: i, actual: a, expected: e, rule: "not finite at the same places" });
    }
  }
  let [dot, squares] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const [a = 0, e = 0] = [actual[i], expected[i]];
    if (!Number.isFinite(e)) continue;
    if (Math.abs(a - e) > tolerance.absolute + tolerance.relative * Math.abs(e)) {
      const rule = `within ${tolerance.absolute} + ${tolerance.relative} * |expected|`;
      fail(subject, { index: i, actual: a, expected: e, rule });
    }
    dot += 2 * a * e;
    squares += a * a + e * e;
  }
  const distance = squares === 0 ? 0 : 1 - dot / squares;
  assert(
    distance <= tolerance.cosine,
    `${subject.name} must have a cosine distance of at most ${tolerance.cosine}: ` +
      `current value is ${distance}`,
  );
}

/** Fails unless all integers are equal. */
export function assertSameInts(
  actual: Int32Array,
  options: { expected: Int32Array; subject: Subject },
): void {
  const { expected, subject } = options;
  assert(actual.length === expected.length, `${subject.name} must have ${expected.length} numbers`);
  for (let i = 0; i < expected.length; i++) {
    const [a = 0, e = 0] = [actual[i], expected[i]];
    if (a !== e) fail(subject, { index: i, actual: a, expected: e, rule: "equal" });
  }
}

/** Fails unless all bytes are equal. */
export function assertSameBytes(
  actual: Uint8Array,
  options: { expected: Uint8Array; subject: Subject },
): void {
  const { expected, subject } = options;
  const elementBytes = expected.length / subject.shape.reduce((a, b) => a * b, 1);
  for (let i = 0; i < expected.length; i++) {
    const [a = 0, e = 0] = [actual[i], expected[i]];
    const index = Math.floor(i / elementBytes);
    if (a !== e) fail(subject, { index, actual: a, expected: e, rule: "bit for bit equal" });
  }
}

function fail(
  subject: Subject,
  mismatch: { index: number; actual: number; expected: number; rule: string },
): never {
  const { index, actual, expected, rule } = mismatch;
  const position = positionOf(index, subject.shape).join(", ");
  assert(
    false,
    `${subject.name}[${position}] of [${subject.shape.join(", ")}] must be ${rule}: ` +
      `current value is ${actual}, expected ${expected}`,
  );
  throw new Error("unreachable");
}

/** The indices of a row-major tensor's element. */
function positionOf(index: number, shape: readonly number[]): number[] {
  const position: number[] = [];
  let rest = index;
  for (const extent of shape.toReversed()) {
    position.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return position;
}
