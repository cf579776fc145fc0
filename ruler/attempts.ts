/**
 * Where the original would draw for ever, an error.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";

/**
 * Draws in a row at the smallest size before a length counts as too short. The original has no
 * bound; draws differ by a few tokens, so a length that fits at all fits long before.
 */
const MAX_ATTEMPTS = 1000;

/** A task whose samples cannot be made at this length. */
export function tooShort(task: string, maxTokens: number): UsageError {
  return new UsageError(
    `Cannot make samples of ${task} as a sample must fit the sequence length: ` +
      `current value is ${maxTokens} tokens, which is too short`,
  );
}

/**
 * Searches for a size; the original ends with an exception where nothing can be drawn.
 *
 * @param search May throw a `RangeError` of the random generator.
 * @throws {UsageError} If it does.
 */
export function searchSize(
  search: () => number,
  options: { task: string; maxTokens: number },
): number {
  const found = orRefusal(search);
  if (found instanceof RangeError) throw tooShort(options.task, options.maxTokens);
  return found;
}

/**
 * Draws samples until one fits, as the original's loop does: after a failure the size shrinks by a
 * step if it is above one step.
 *
 * @param draw Makes a sample of a size; `undefined` is a failure that another draw may not have. A
 * `RangeError` of the random generator is one that every draw of that size has.
 * @param options `size`: the first size; `step`; `shrinks`: false where the original forgets to.
 * @throws {UsageError} If no sample fits.
 */
export function drawUntilFits<T extends { readonly length: number }>(
  draw: (size: number) => T | undefined,
  options: { task: string; maxTokens: number; size: number; step: number; shrinks: boolean },
): T {
  const { task, maxTokens, step, shrinks } = options;
  let { size } = options;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const drawn = orRefusal(() => draw(size));
    const isRefused = drawn instanceof RangeError;
    if (!isRefused && drawn !== undefined && drawn.length <= maxTokens) return drawn;
    const isSmallest = !(shrinks && size > step);
    if (isSmallest && isRefused) break;
    if (isSmallest) continue;
    size -= step;
    attempt = 0;
  }
  throw tooShort(task, maxTokens);
}

function orRefusal<T>(draw: () => T): T | RangeError {
  try {
    return draw();
  } catch (error) {
    if (error instanceof RangeError) return error;
    throw error;
  }
}
