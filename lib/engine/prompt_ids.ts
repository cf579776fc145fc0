/**
 * The ids of a prompt, and its stop words as ids.
 *
 * @module
 */
import type { Plan } from "../attention/plan.ts";
import { RequestError } from "../errors.ts";
import type { TextTokenizer } from "../model/tokenizer.ts";

/** A prompt in ids. */
export interface PromptIds {
  readonly contextIds: Int32Array;
  readonly queryIds: Int32Array;
}

/** What {@linkcode promptIds} takes. */
export interface PromptTexts {
  /** A text, or ids that are taken as they are. */
  readonly context: string | Int32Array;
  readonly query: string | Int32Array;
  /** Names the prompt in messages. */
  readonly sample: string;
}

/**
 * Tokenizes a prompt: context and query each on its own, as Star Attention's two phases have them.
 * In mode `dense` both are one text, as in the original: where the last token of the context would
 * join with the first one of the query, its ids are others.
 *
 * @param prompt Context and query.
 * @param options `vocabularySize`: the rows of the model's embedding.
 * @throws {RequestError} If a text is too long for the library, or an id has no row.
 */
export async function promptIds(
  prompt: PromptTexts,
  options: { tokenizer: TextTokenizer; plan: Plan; vocabularySize: number },
): Promise<PromptIds> {
  const { context, query, sample } = prompt;
  const { tokenizer, plan, vocabularySize } = options;
  const isDense = plan.cut.kind === "whole" && plan.selection === undefined;
  const encode = async (text: string | Int32Array, name: string): Promise<Int32Array> => {
    if (typeof text !== "string") return text;
    try {
      return await tokenizer.encode(text);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new RequestError(`Cannot run sample ${sample}: its ${name}: ${error.message}`, {
        cause: error,
      });
    }
  };
  const queryIds = await encode(query, "query");
  // What is given in ids is cut already.
  const isOneText = isDense && typeof context === "string" && typeof query === "string";
  const contextIds = await encode(isOneText ? context + query : context, "context");
  await checkRows([contextIds, queryIds], { sample, tokenizer, vocabularySize });
  if (!isOneText) return { contextIds, queryIds };
  // Where the text is cut into phases changes nothing here; the second one needs a token.
  const cut = Math.max(0, contextIds.length - Math.max(1, queryIds.length));
  return { contextIds: contextIds.subarray(0, cut), queryIds: contextIds.subarray(cut) };
}

/** @throws {RequestError} If an id has no row in the embedding. */
async function checkRows(
  parts: readonly Int32Array[],
  options: { sample: string; tokenizer: TextTokenizer; vocabularySize: number },
): Promise<void> {
  const { sample, tokenizer, vocabularySize } = options;
  for (const ids of parts) {
    const id = ids.find((id) => id < 0 || id >= vocabularySize);
    if (id === undefined) continue;
    const token = id < 0 ? "" : await tokenizer.decode([id]);
    const found = token === ""
      ? `current value is ${id}`
      : `the token ${JSON.stringify(token)} has the id ${id} in tokenizer.json`;
    throw new RequestError(
      `Cannot run sample ${sample} as ids must be at least 0 and below vocab_size of ` +
        `config.json, which is ${vocabularySize}: ${found}`,
    );
  }
}

/** Stop words that are one token: generation can end at them, as the text is cut there. */
export async function stopIds(
  stopWords: readonly string[],
  tokenizer: TextTokenizer,
): Promise<number[]> {
  const found: number[] = [];
  for (const word of stopWords) {
    const ids = await tokenizer.encode(word);
    const [id] = ids;
    if (ids.length === 1 && id !== undefined && await tokenizer.decode([id]) === word) {
      found.push(id);
    }
  }
  return found;
}

/** The text before the first stop word in it; a stop word may span tokens. */
export function cutAtStopWord(text: string, stopWords: readonly string[]): string {
  let end = text.length;
  for (const word of stopWords) {
    const at = word === "" ? -1 : text.indexOf(word);
    if (at >= 0) end = Math.min(end, at);
  }
  return text.slice(0, end);
}

/**
 * Whether an answer may end as it has a stop word; undefined where no word is looked for.
 *
 * A word that is one token ends the answer by its id, but may also be part of another token.
 */
export function stopCheck(
  stopWords: readonly string[],
  tokenizer: TextTokenizer,
): ((ids: readonly number[]) => Promise<boolean>) | undefined {
  const words = stopWords.filter((word) => word !== "");
  if (words.length === 0) return undefined;
  return async (ids) => {
    const text = await tokenizer.decode([...ids]);
    return words.some((word) => text.includes(word));
  };
}

/**
 * The ids up to the first that completes a stop word; all of them if none does. So they do not depend
 * on how soon an answer was ended.
 */
export async function idsToStopWord(
  ids: readonly number[],
  options: { stopWords: readonly string[]; tokenizer: TextTokenizer },
): Promise<readonly number[]> {
  const hasWord = stopCheck(options.stopWords, options.tokenizer);
  if (hasWord === undefined || !(await hasWord(ids))) return ids;
  let [without, having] = [0, ids.length];
  while (having - without > 1) {
    const middle = Math.floor((without + having) / 2);
    if (await hasWord(ids.slice(0, middle))) having = middle;
    else without = middle;
  }
  return ids.slice(0, having);
}
