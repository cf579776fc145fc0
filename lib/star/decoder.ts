/**
 * Answers in progress: each began with its query, all go on together, a token of each a step.
 *
 * @module
 */
import { FileError } from "../errors.ts";
import type { Collective } from "../parallel/collective.ts";
import type { GenerateRequest } from "./request.ts";
import type { Sequence } from "./sequence.ts";
import type { Stepper } from "./step.ts";
import type { TokenScore } from "./token_scores.ts";
import type { Turns } from "./turns.ts";

/** What is asked about a sequence. */
export type AnswerRequest = Pick<
  GenerateRequest,
  "sample" | "queryIds" | "tokensToGenerate" | "stopIds" | "topLogits" | "tokenScores"
>;

/** How a rank answers. */
export interface AnswerCall {
  readonly request: Omit<GenerateRequest, "contextIds">;
  readonly collective: Collective;
  /** Called after every layer of a step. */
  readonly onLayer: () => void;
  /** Called for every generated token, with all so far. */
  readonly onToken: (ids: readonly number[]) => void;
}

/** One answer. */
export class Answer {
  readonly sequence: Sequence;
  readonly topLogits: readonly (readonly [number, number])[];
  /** Of what follows on each token of the query, if asked for; only on the query rank. */
  readonly scores: readonly TokenScore[];
  readonly #request: AnswerRequest;
  readonly #onToken: (ids: readonly number[]) => void;
  readonly #ids: number[] = [];
  #isDone = false;
  #failure: Error | undefined;

  constructor(
    sequence: Sequence,
    options: {
      request: AnswerRequest;
      topLogits: readonly (readonly [number, number])[];
      scores: readonly TokenScore[];
      onToken: (ids: readonly number[]) => void;
    },
  ) {
    this.sequence = sequence;
    this.topLogits = options.topLogits;
    this.scores = options.scores;
    this.#request = options.request;
    this.#onToken = options.onToken;
  }

  /** Generated so far, a stop id included. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /** Whether no token is to come. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Why it ended without being whole. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Tokens that may still come. */
  get tokensLeft(): number {
    return this.#isDone ? 0 : this.#request.tokensToGenerate - this.#ids.length;
  }

  /**
   * Takes the next token; one that comes after the end is nobody's. None ends the answer with a
   * failure: it is below 0 where a logit is not finite.
   */
  add(id: number): void {
    if (this.#isDone) return;
    if (id < 0) {
      const place = `${this.#ids.length} of the answer to sample "${this.#request.sample}"`;
      this.#isDone = true;
      this.sequence.isSuspect = true;
      this.#failure = new FileError(
        `Cannot choose token ${place} as all logits must be finite: current value of some is NaN ` +
          "or infinite, so that the model's weights or their dtype are in doubt",
      );
      return;
    }
    this.sequence.isSuspect = false;
    this.#ids.push(id);
    this.#isDone = this.#request.stopIds.includes(id) || this.tokensLeft === 0;
    this.#onToken(this.#ids);
  }

  /** Ends it where it is. */
  stop(): void {
    this.#isDone = true;
  }
}

/**
 * Encodes the query about a sequence, and takes the first token of the answer.
 *
 * @param options `onToken`: called for every token, with all so far.
 * @throws {WorkerError} If a rank is lost.
 */
export async function startAnswer(
  stepper: Stepper,
  options: {
    sequence: Sequence;
    request: AnswerRequest;
    onToken: (ids: readonly number[]) => void;
    turns: Turns;
  },
): Promise<Answer> {
  const { sequence, request, onToken, turns } = options;
  await sequence.rewind();
  sequence.isSuspect = true;
  const { queryIds: ids, topLogits: count, tokenScores } = request;
  const first = await stepper.query(sequence, { ids, topLogits: count, tokenScores, turns });
  const { id, topLogits, scores } = first;
  const answer = new Answer(sequence, { request, topLogits, scores, onToken });
  answer.add(id);
  return answer;
}

/**
 * Runs steps of some answers together until one of them is done; where devices run ahead, a step is
 * started before the tokens of the one before it are known.
 *
 * @param answers Of different sequences, none of them done; at most the stepper's rows.
 * @param options `maxSteps`: after so many steps it ends in any case.
 * @throws {WorkerError} If a rank is lost.
 */
export async function decode(
  stepper: Stepper,
  answers: readonly Answer[],
  options: { maxSteps: number },
): Promise<void> {
  await stepper.begin(answers.map(({ sequence, ids }) => ({
    sequence,
    ids: Int32Array.of(ids.at(-1) ?? 0),
  })));
  const take = (tokens: Int32Array) => answers.forEach((answer, i) => answer.add(tokens[i] ?? 0));
  // No step may come after the last token of any of them.
  const steps = Math.min(options.maxSteps, ...answers.map(({ tokensLeft }) => tokensLeft));
  let pending = await stepper.start();
  for (let started = 1;; started++) {
    const isLast = started === steps;
    const following = !isLast && stepper.runsAhead ? await stepper.start() : undefined;
    take(await pending.read());
    if (isLast || answers.some(({ isDone }) => isDone)) {
      // What is ahead is right for those that go on.
      if (following !== undefined) take(await following.read());
      return;
    }
    pending = following ?? await stepper.start();
  }
}
