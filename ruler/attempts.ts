/**
 * Where the original would draw for ever, an error.
 *
 * @module
 */
import { RequestError, UsageError } from "../lib/errors.ts";

/**
 * Draws in a row at the smallest size before a length counts as too short. The original has no
 * bound; draws differ by a few tokens, so a length that fits at all fits long before.
 */
const MAX_ATTEMPTS = 1000;

/** Steps in a row without a longer prompt, after which a search is given up. */
const MAX_IDLE_STEPS = 100;

/**
 * Ends a search whose prompts get longer in words but not in tokens, as a tokenizer makes them that
 * knows few words or cuts texts off.
 */
export class GrowthWatch {
  readonly #task: string;
  #most = -1;
  #idleSteps = 0;

  constructor(task: string) {
    this.#task = task;
  }

  /**
   * Takes the count of the next larger prompt.
   *
   * @throws {UsageError} If the counts have not grown for long.
   */
  check(tokens: number): void {
    this.#idleSteps = tokens > this.#most ? 0 : this.#idleSteps + 1;
    this.#most = Math.max(this.#most, tokens);
    if (this.#idleSteps < MAX_IDLE_STEPS) return;
    throw new UsageError(
      `Cannot make samples of ${this.#task} as longer texts must have more tokens: ` +
        `${MAX_IDLE_STEPS} longer ones have at most ${this.#most} by this tokenizer`,
    );
  }
}

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
export async function searchSize(
  search: () => Promise<number>,
  options: { task: string; maxTokens: number },
): Promise<number> {
  const found = await orRefusal(search);
  if (found instanceof RangeError) throw tooShort(options.task, options.maxTokens);
  return found;
}

/**
 * The original's search of cwe, qa and vt for a size: step by step until a prompt is too long, every try
 * drawing.
 *
 * @param countPrompt Draws a prompt of a size, and counts its tokens with those of the answers.
 * @param options `mostItems`: where its source ends; by default it has no end.
 * @throws {UsageError} If longer prompts have no more tokens.
 */
export async function growSize(
  countPrompt: (size: number) => Promise<number>,
  options: {
    task: string;
    maxTokens: number;
    tokensToGenerate: number;
    step: number;
    mostItems?: number;
    onSourceEnd?: (() => void) | undefined;
  },
): Promise<number> {
  const { task, maxTokens, tokensToGenerate, step, mostItems = Infinity, onSourceEnd } = options;
  const growth = new GrowthWatch(task);
  let size = step;
  let tokens = 0;
  while (tokens + tokensToGenerate < maxTokens) {
    tokens = await countPrompt(size);
    growth.check(tokens);
    if (tokens + tokensToGenerate > maxTokens) return size - step;
    size += step;
    if (size > mostItems) {
      onSourceEnd?.();
      return mostItems;
    }
  }
  return size;
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
export async function drawUntilFits<T extends { readonly length: number }>(
  draw: (size: number) => Promise<T | undefined>,
  options: { task: string; maxTokens: number; size: number; step: number; shrinks: boolean },
): Promise<T> {
  const { task, maxTokens, step, shrinks } = options;
  let { size } = options;
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const drawn = await orRefusal(() => draw(size));
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

async function orRefusal<T>(draw: () => Promise<T>): Promise<T | RangeError> {
  try {
    return await draw();
  } catch (error) {
    if (error instanceof RangeError && !(error instanceof RequestError)) return error;
    throw error;
  }
}
