/**
 * Assertions, with Node's comparison of values: this project's tests fetch no package for them.
 *
 * @module
 */
import { AssertionError, deepStrictEqual, notDeepStrictEqual } from "node:assert";

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

/** Fails unless two values have the same structure. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
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
