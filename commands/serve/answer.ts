/**
 * One prompt through the model: where it is cut into context and query, its answer, and the
 * log-probabilities of its tokens.
 *
 * @module
 */
import { cutAtStopWord } from "../../lib/engine/prompt_ids.ts";
import type { Model } from "../../lib/engine/load_model.ts";
import type { ScoredToken } from "../../lib/engine/score.ts";
import { ApiError } from "./errors.ts";

/** How prompts are answered. */
export interface AnswerSetup {
  readonly model: Model;
  /** Whether attention is dense: context and query are the same to it. */
  readonly isDense: boolean;
  /** Tokens at the end of a prompt that are its query. */
  readonly queryTokens: number;
  /** Tokens of an answer, at most. */
  readonly maxTokens: number;
}

/** What is asked of one prompt. */
export interface Ask {
  readonly ids: Int32Array;
  /** At least 0. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly endIds: readonly number[];
  /** How many of the most likely tokens to return with log-probabilities; undefined for none. */
  readonly top: number | undefined;
  /** Whether the prompt's tokens are to have log-probabilities, too. */
  readonly echo: boolean;
  readonly signal: AbortSignal;
  readonly onIds?: ((ids: readonly number[]) => void) | undefined;
}

/** A token with its score, or one that has none. */
export type Scored = ScoredToken | { readonly id: number; readonly logprob: null };

/** What came of a prompt. */
export interface Answered {
  readonly text: string;
  readonly ids: readonly number[];
  readonly finishReason: "stop" | "length";
  /** Of the prompt, if it is echoed, and of the answer. */
  readonly scores: readonly Scored[] | undefined;
}

/**
 * Answers a prompt.
 *
 * @throws {ApiError} If prompt and answer are too long.
 * @throws As `Model.generate()`.
 */
export async function answerPrompt(setup: AnswerSetup, ask: Ask): Promise<Answered> {
  const { ids: prompt, maxTokens, top, echo } = ask;
  // The answer's first token comes with the scores of what stands before it.
  if (maxTokens === 0 || maxTokens === 1 && top !== undefined) return await scoreFirst(setup, ask);
  const { text, ids } = await setup.model.generate(cutPrompt(prompt, setup), {
    tokensToGenerate: maxTokens,
    stopWords: ask.stop,
    endIds: ask.endIds,
    signal: ask.signal,
    onIds: ask.onIds,
  });
  const finishReason = await hasEnded(ids, setup, ask) ? "stop" : "length";
  if (top === undefined) return { text, ids, finishReason, scores: undefined };
  const all = Int32Array.from([...prompt, ...ids]);
  const scores = await scoreTail(setup, { ids: all, promptTokens: prompt.length, ask });
  return { text, ids, finishReason, scores: echo ? scores : scores.slice(prompt.length) };
}

/** At most one token, with the scores. */
async function scoreFirst(setup: AnswerSetup, ask: Ask): Promise<Answered> {
  const { ids: prompt, maxTokens, top, echo, stop, endIds } = ask;
  if (top === undefined) return { text: "", ids: [], finishReason: "length", scores: undefined };
  const { length: promptTokens } = prompt;
  const scores = await scoreTail(setup, { ids: prompt, promptTokens, ask });
  const next = scores.at(-1);
  if (maxTokens === 0 || next === undefined) {
    return { text: "", ids: [], finishReason: "length", scores: echo ? scores.slice(0, -1) : [] };
  }
  const { tokenizer } = setup.model;
  const text = endIds.includes(next.id)
    ? ""
    : cutAtStopWord(await tokenizer.decode([next.id]), stop);
  return {
    text,
    ids: [next.id],
    finishReason: await hasEnded([next.id], setup, ask) ? "stop" : "length",
    scores: echo ? scores : scores.slice(-1),
  };
}

/**
 * The scores of some tokens and, where they are the prompt alone, of the one behind them.
 *
 * The first token has none; in the modes with blocks nor have those of the context.
 */
async function scoreTail(
  setup: AnswerSetup,
  options: { ids: Int32Array; promptTokens: number; ask: Ask },
): Promise<Scored[]> {
  const { model, isDense } = setup;
  const { ids, promptTokens, ask: { signal, top = 0, echo } } = options;
  const before = Math.max(1, isDense && echo ? 1 : cutAt(promptTokens, setup));
  const isPromptAlone = ids.length === promptTokens;
  const none = Array.from(ids.subarray(0, before), (id) => ({ id, logprob: null }));
  if (before === ids.length) {
    // A prompt of one token has no token to score, but one behind it.
    const { next } = await scoreLast(setup, { ids, signal, top });
    return isPromptAlone ? [...none, next] : none;
  }
  const { tokens, next } = await model.score(ids.slice(0, before), ids.slice(before), {
    ...{ top, signal },
  });
  return isPromptAlone ? [...none, ...tokens, next] : [...none, ...tokens];
}

/** What follows on a single token. */
async function scoreLast(
  setup: AnswerSetup,
  options: { ids: Int32Array; signal: AbortSignal; top: number },
): Promise<{ next: Scored }> {
  const { ids: query, signal, top } = options;
  const { ids, topLogits } = await setup.model.generate({ context: new Int32Array(0), query }, {
    ...{ tokensToGenerate: 1, signal },
    topLogits: setup.model.config.vocabularySize,
  });
  const largest = topLogits[0]?.[1] ?? 0;
  const sum = topLogits.reduce((sum, [, logit]) => sum + Math.exp(logit - largest), 0);
  const scored = topLogits.slice(0, top).map(([id, logit]) =>
    [id, logit - largest - Math.log(sum)] as const
  );
  return { next: { id: ids[0] ?? 0, logprob: -Math.log(sum), top: scored } };
}

/** Tokens of the context: the rest of a prompt is its query. */
function cutAt(tokens: number, setup: Pick<AnswerSetup, "queryTokens">): number {
  return Math.max(0, tokens - setup.queryTokens);
}

function cutPrompt(
  ids: Int32Array,
  setup: AnswerSetup,
): { context: Int32Array; query: Int32Array } {
  const cut = cutAt(ids.length, setup);
  return { context: ids.slice(0, cut), query: ids.slice(cut) };
}

async function hasEnded(ids: readonly number[], setup: AnswerSetup, ask: Ask): Promise<boolean> {
  const { stop, endIds } = ask;
  if (endIds.includes(ids.at(-1) ?? -1)) return true;
  if (stop.length === 0) return false;
  const text = await setup.model.tokenizer.decode([...ids]);
  return stop.some((word) => text.includes(word));
}

/**
 * The tokens that an answer may have.
 *
 * @throws {ApiError} If the model has not so many positions, or the server does not give so many.
 */
export function answerLength(
  setup: AnswerSetup,
  options: { promptTokens: number; asked: number | undefined; param: string },
): number {
  const { maxPositions } = setup.model.config;
  const { promptTokens, asked, param } = options;
  const room = maxPositions - promptTokens;
  if (room < (asked ?? 1)) {
    throw new ApiError(
      400,
      `Prompt and answer must have at most the model's ${maxPositions} tokens: ` +
        `the prompt has ${promptTokens}, '${param}' is ${asked ?? "absent"}`,
      { param, code: "context_length_exceeded" },
    );
  }
  if (asked !== undefined && asked > setup.maxTokens) {
    throw new ApiError(
      400,
      `'${param}' must be at most ${setup.maxTokens} (--max_tokens): current value is ${asked}`,
      { param },
    );
  }
  return asked ?? Math.min(room, setup.maxTokens);
}
