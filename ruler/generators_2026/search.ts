/**
 * How the generators of 2026 find the size of a haystack, and draw samples of it.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { drawUntilFits, searchSize } from "../attempts.ts";
import type { GeneratorOptions } from "../model.ts";

/** No unit has fewer tokens: it is a word at least. */
const MIN_TOKENS_PER_UNIT = 0.25;

/** The text of a prompt, its answer's beginning included, and the answers. */
export interface Draft {
  readonly text: string;
  readonly answers: readonly string[];
}

/** A sample before its answer's beginning is cut off. */
export interface FittingDraft extends Draft {
  /** Tokens of the text, and those to be generated. */
  readonly length: number;
}

/** How a task's haystack is searched. */
export interface Search {
  /** Draws a prompt with a haystack of a size; sizes are words, sentences or documents. */
  readonly draw: (size: number) => Draft;
  /** The smallest size, and the step in which a haystack shrinks that is too long after all. */
  readonly step: number;
  /** The size that is drawn first, to learn how many tokens a unit has. @default {step} */
  readonly probe?: number;
  /** The largest size to try. @param tokensPerUnit As the probe has it. */
  readonly most?: (tokensPerUnit: number) => number;
  /** Tokens that stand beside the drawn text, the generated ones included. */
  readonly otherTokens: number;
  readonly maxTokens: number;
  /** Whether haystacks end, so that larger sizes have no longer texts. @default {false} */
  readonly ends?: boolean;
}

/**
 * The largest size that fits, by bisection; every try draws.
 *
 * @returns The step where none fits.
 * @throws {UsageError} If nothing can be drawn, or longer texts have no more tokens, as a tokenizer
 * makes them that knows few words.
 */
export async function findSize(
  options: Pick<GeneratorOptions, "task" | "countTokens">,
  search: Search,
): Promise<number> {
  const { task, countTokens } = options;
  const { draw, step, probe = step, otherTokens, maxTokens } = search;
  const { most = (tokensPerUnit) => Math.trunc(maxTokens / tokensPerUnit * 3) } = search;
  return await searchSize(async () => {
    const tokens = await countTokens(draw(probe).text);
    const idle = (size: number, tokens: number) =>
      new UsageError(
        `Cannot make samples of ${task} as longer texts must have more tokens: one of size ` +
          `${size} has ${tokens} by this tokenizer`,
      );
    if (tokens < MIN_TOKENS_PER_UNIT * probe) throw idle(probe, tokens);
    const largest = Math.max(most(tokens / probe), 2 * step);
    let low = step;
    let high = largest;
    let found = step;
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      const length = await countTokens(draw(middle).text) + otherTokens;
      if (length <= maxTokens) {
        // Three times what should fit does.
        if (middle === largest && search.ends !== true) throw idle(middle, length);
        found = middle;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    return found;
  }, { task, maxTokens });
}

/**
 * A prompt that fits, of a size or of one that is smaller by some steps.
 *
 * @throws {UsageError} If none fits.
 */
export async function drawFitting(
  options: Pick<GeneratorOptions, "task" | "countTokens">,
  search: Pick<Search, "step" | "maxTokens" | "otherTokens"> & {
    readonly size: number;
    readonly draw: (size: number) => Draft | undefined;
  },
): Promise<FittingDraft> {
  const { task, countTokens } = options;
  const { draw, step, size, maxTokens, otherTokens } = search;
  return await drawUntilFits(async (size) => {
    const draft = draw(size);
    if (draft === undefined) return undefined;
    return { ...draft, length: await countTokens(draft.text) + otherTokens };
  }, { task, maxTokens, size, step, shrinks: true });
}
