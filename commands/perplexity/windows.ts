/**
 * Which tokens of a text are scored behind which: the same ones at every length, so that lengths
 * differ in nothing but what stands in front of them.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";

/** Some tokens that are scored, at every length behind another context. */
export interface ScoredSpan {
  /** Their places in the text, `end` exclusive. */
  readonly start: number;
  readonly end: number;
}

/**
 * Spans at equal distances, none of which overlap: the first ends where the longest context does, the
 * last with the text.
 *
 * @param text How many tokens it has; its name for messages.
 * @param options `longest`: tokens of context and span at the greatest length. `spanTokens`: of each
 * span. `count`: how many spans, at most.
 * @returns At least one.
 * @throws {FileError} If the text is too short for one.
 */
export function placeSpans(
  text: { readonly tokens: number; readonly name: string },
  options: { readonly longest: number; readonly spanTokens: number; readonly count: number },
): ScoredSpan[] {
  const { longest, spanTokens, count } = options;
  const left = text.tokens - longest;
  if (left < 0) {
    throw new FileError(
      `Cannot use ${text.name} as it must have at least ${longest} tokens, the greatest of ` +
        `--seq_lengths: found ${text.tokens}`,
    );
  }
  const fitting = Math.min(count, 1 + Math.floor(left / spanTokens));
  return Array.from({ length: fitting }, (_, i) => {
    const end = longest + (fitting === 1 ? 0 : Math.floor(i * left / (fitting - 1)));
    return { start: end - spanTokens, end };
  });
}
