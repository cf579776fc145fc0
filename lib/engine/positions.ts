/**
 * How long a prompt and its answer may be for a model.
 *
 * @module
 */
import { RequestError } from "../errors.ts";

/** How far a prompt may exceed the model's positions: RULER's fwe overshoots its length. */
const OVERSHOOT = 0.02;
/** RULER's longest answers, which its lengths may be exceeded by as well. */
const LONGEST_ANSWER = 128;

/** What is asked of a model. */
export interface PromptLength {
  readonly sample: string;
  /** Tokens of context and query. */
  readonly promptTokens: number;
  readonly tokensToGenerate: number;
}

/**
 * Checks that prompt and answer have places. A prompt that exceeds the positions by a little is one of
 * a benchmark whose lengths are not kept to the token: it gets a warning.
 *
 * @param maxPositions What the model was made for.
 * @returns The warning, if there is one.
 * @throws {RequestError} If there are too many tokens; the message has the numbers.
 */
export function checkPositions(maxPositions: number, length: PromptLength): string | undefined {
  const { sample, promptTokens, tokensToGenerate } = length;
  const slack = Math.min(tokensToGenerate, LONGEST_ANSWER);
  const promptLimit = Math.floor(maxPositions * (1 + OVERSHOOT)) + slack;
  if (promptTokens > promptLimit) {
    throw new RequestError(
      `Cannot run sample ${sample} as a prompt must have at most ${maxPositions} tokens ` +
        `(max_position_embeddings; up to ${promptLimit} with a warning): ` +
        `current value is ${promptTokens}`,
    );
  }
  const total = promptTokens + tokensToGenerate;
  if (total > promptLimit + slack) {
    throw new RequestError(
      `Cannot run sample ${sample} as prompt and answer must have at most ${maxPositions} tokens ` +
        `(max_position_embeddings): current value is ${promptTokens} and ${tokensToGenerate}`,
    );
  }
  if (promptTokens <= maxPositions) return undefined;
  return `Sample ${sample} has ${promptTokens} tokens, more than the model's ${maxPositions} ` +
    "positions (max_position_embeddings)";
}
