/**
 * Assertions, with Node's comparison of values: this project's tests fetch no package for them.
 *
 * @module
 */
import { AssertionError, deepStrictEqual, notDeepStrictEqual } from "node:assert";
import { isDeepStrictEqual } from "node:util";

type ErrorClass<E extends Error> = abstract new (...args: never[]) => E;

function fail(text: string, message: string | undefined): never {
  throw new AssertionError({ message: message === undefined ? text : `${text}: ${message}` });
}

function show(value: unknown): string {
  return Deno.inspect(value, { depth: 6, strAbbreviateSize: 10_000 });
}

/** Fails unless a condition holds. */
export function assert(condition: unknown, message?: string): asserts condition {
  if (!condition) fail("the condition must hold", message);
}

/** Fails unless two numbers are close, by default within a ten-millionth of the expected one. */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  message?: string,
): void {
  if (Object.is(actual, expected)) return;
  const limit = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  if (!(Math.abs(expected - actual) <= limit)) {
    fail(`${actual} must be ${expected} within ${limit}`, message);
  }
}

/** Elements of a list up to which its differences are shown as lines: that takes their square of time,
 * two minutes for 16,000 numbers. */
const SHOWN_ELEMENTS = 500;

type List = ArrayLike<unknown> & object;

function isList(value: unknown): value is List {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** Where and how two values differ for the first time in a long list; undefined if in none. */
function longDifference(actual: unknown, expected: unknown, path = ""): string | undefined {
  if (isList(actual) && isList(expected)) {
    const length = Math.max(actual.length, expected.length);
    if (length <= SHOWN_ELEMENTS) return undefined;
    const [found, wanted] = [actual.constructor.name, expected.constructor.name];
    if (found !== wanted) return `${path || "it"} is of class ${found} instead of ${wanted}`;
    if (actual.length !== expected.length) {
      return `${path || "it"} has ${actual.length} elements instead of ${expected.length}`;
    }
    for (let i = 0; i < length; i++) {
      if (isDeepStrictEqual(actual[i], expected[i])) continue;
      return `${path}[${i}] of ${length} is ${show(actual[i])} instead of ${show(expected[i])}`;
    }
    return undefined;
  }
  if (typeof actual !== "object" || typeof expected !== "object") return undefined;
  for (const [name, value] of Object.entries(actual ?? {})) {
    const other = Object.entries(expected ?? {}).find(([key]) => key === name)?.[1];
    const found = longDifference(value, other, `${path}.${name}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Fails unless two values have the same structure. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  const difference = longDifference(actual, expected);
  if (difference !== undefined) fail(difference, message);
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error;
    fail(error.message, message);
  }
}

/** Fails if two values have the same structure. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  try {
    notDeepStrictEqual(actual, expected);
  } catch (error) {
    if (!(error instanceof AssertionError)) throw error;
    fail(`both are ${show(actual)}`, message);
  }
}

/** Fails unless two values are the same one. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  message?: string,
): asserts actual is T {
  if (!Object.is(actual, expected)) {
    fail(`${show(actual)} must be ${show(expected)}`, message);
  }
}

/** Fails unless the first value is the larger one. */
export function assertGreater<T>(actual: T, expected: T, message?: string): void {
  if (!(actual > expected)) fail(`${show(actual)} must be above ${show(expected)}`, message);
}

/** Fails unless the first value is the smaller one. */
export function assertLess<T>(actual: T, expected: T, message?: string): void {
  if (!(actual < expected)) fail(`${show(actual)} must be below ${show(expected)}`, message);
}

/** Fails unless a value is of a class. */
export function assertInstanceOf<T>(
  actual: unknown,
  expectedType: abstract new (...args: never[]) => T,
  message?: string,
): asserts actual is T {
  if (!(actual instanceof expectedType)) {
    fail(`${show(actual)} must be of class ${expectedType.name}`, message);
  }
}

/** Fails unless a text matches. */
export function assertMatch(actual: string, expected: RegExp, message?: string): void {
  if (!expected.test(actual)) fail(`${show(actual)} must match ${expected}`, message);
}

/** Fails unless a text holds another. */
export function assertStringIncludes(actual: string, expected: string, message?: string): void {
  if (!actual.includes(expected)) fail(`${show(actual)} must hold ${show(expected)}`, message);
}

function checkError<E extends Error>(
  error: unknown,
  expected: { errorClass: ErrorClass<E> | undefined; includes: string | undefined },
): E {
  const { errorClass = Error, includes } = expected;
  if (!(error instanceof errorClass)) {
    fail(`the error must be of class ${errorClass.name}, found ${show(error)}`, undefined);
  }
  if (includes !== undefined && !error.message.includes(includes)) {
    fail(`the error must say ${show(includes)}: it says ${show(error.message)}`, undefined);
  }
  return error as E;
}

/** Fails unless a function throws; the error. */
export function assertThrows<E extends Error = Error>(
  run: () => unknown,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
): E {
  try {
    run();
  } catch (error) {
    return checkError(error, { errorClass, includes: messageIncludes });
  }
  fail("the function must throw: it did not", undefined);
}

/** Fails unless a promise is rejected; the error. */
export async function assertRejects<E extends Error = Error>(
  run: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  messageIncludes?: string,
): Promise<E> {
  try {
    await run();
  } catch (error) {
    return checkError(error, { errorClass, includes: messageIncludes });
  }
  fail("the promise must be rejected: it was not", undefined);
}
