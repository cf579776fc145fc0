/**
 * Log-probabilities as OpenAI's interface shows them: with the text of each token.
 *
 * @module
 */
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";
import type { Scored } from "./answer.ts";

/** `logprobs` of a choice of a completion. */
export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  /** UTF-16 code units before each token. */
  readonly text_offset: readonly number[];
}

/** The bytes of a token; undefined where they are not known. */
export type BytesOf = (id: number) => Promise<readonly number[] | undefined>;

/** Stands for bytes that are no whole character. */
const INCOMPLETE = "\ufffd";

/** The scores of a completion; the token itself is among the most likely ones, wherever it stands. */
export async function completionLogprobs(
  scores: readonly Scored[],
  options: { tokenizer: TextTokenizer; offset: number },
): Promise<CompletionLogprobs> {
  const { tokenizer } = options;
  const tokens = await tokenTexts(scores, tokenizer);
  const top = await Promise.all(scores.map(async (score, i) => {
    if (score.logprob === null) return null;
    const texts = await topTexts(score.top, { before: scores[i - 1], tokenizer });
    const all = texts.map(([text, logprob]) => [text, logprob] as const);
    all.push([tokens[i] ?? "", score.logprob]);
    // Of tokens with one text the most likely one counts.
    return Object.fromEntries(all.toSorted((a, b) => a[1] - b[1]));
  }));
  const offsets: number[] = [];
  let { offset } = options;
  for (const { length } of tokens) {
    offsets.push(offset);
    offset += length;
  }
  return {
    tokens,
    token_logprobs: scores.map(({ logprob }) => logprob),
    top_logprobs: top,
    text_offset: offsets,
  };
}

/**
 * `logprobs` of a choice of a chat.
 *
 * @param options `bytesOf`: the bytes of a token that is no whole characters.
 */
export async function chatLogprobs(
  scores: readonly Scored[],
  options: { tokenizer: TextTokenizer; bytesOf: BytesOf },
): Promise<{ content: readonly unknown[] }> {
  const { tokenizer, bytesOf } = options;
  const texts = await tokenTexts(scores, tokenizer);
  const encoder = new TextEncoder();
  const entry = async (id: number, token: string, logprob: number | null) => {
    // A part of a character behind another one may add nothing to a text.
    const isPart = token === "" || token.includes(INCOMPLETE);
    const exact = isPart ? await bytesOf(id) : undefined;
    return { token, logprob, bytes: exact ?? [...encoder.encode(token)] };
  };
  const content = scores.map(async (score, i) => {
    const top = score.logprob === null
      ? []
      : await topTexts(score.top, { before: scores[i - 1], tokenizer });
    return {
      ...await entry(score.id, texts[i] ?? "", score.logprob),
      top_logprobs: await Promise.all(top.map(([text, logprob, id]) => entry(id, text, logprob))),
    };
  });
  return { content: await Promise.all(content) };
}

/** The texts of tokens behind each other: some tokenizers drop the blank of a first one. */
async function tokenTexts(scores: readonly Scored[], tokenizer: TextTokenizer): Promise<string[]> {
  return await Promise.all(
    scores.map(({ id }, i) => textBehind(id, { before: scores[i - 1]?.id, tokenizer })),
  );
}

async function topTexts(
  top: readonly (readonly [number, number])[],
  options: { before: Scored | undefined; tokenizer: TextTokenizer },
): Promise<(readonly [string, number, number])[]> {
  const place = { before: options.before?.id, tokenizer: options.tokenizer };
  return await Promise.all(
    top.map(async ([id, logprob]) => [await textBehind(id, place), logprob, id] as const),
  );
}

async function textBehind(
  id: number,
  place: { before: number | undefined; tokenizer: TextTokenizer },
): Promise<string> {
  const { before, tokenizer } = place;
  if (before === undefined) return await tokenizer.decode([id]);
  const [first, both] = [await tokenizer.decode([before]), await tokenizer.decode([before, id])];
  return both.startsWith(first) ? both.slice(first.length) : await tokenizer.decode([id]);
}
