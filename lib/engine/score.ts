/**
 * Log-probabilities of a text that is given: as a request, whose query is the text, and as a result.
 *
 * @module
 */
import type { Plan, PlanOptions } from "../attention/plan.ts";
import { invariant, RequestError } from "../errors.ts";
import type { TextTokenizer } from "../model/tokenizer.ts";
import { checkFunctions, checkNames, checkSignal, checkText, checkWhole } from "../options.ts";
import type { GenerateRequest, Progress } from "../star/request.ts";
import type { TokenScore } from "../star/token_scores.ts";
import { checkPart } from "./options.ts";
import { promptIds } from "./prompt_ids.ts";

/** How to score. */
export interface ScoreOptions {
  /** How many of the most likely tokens to return at each position. @default {0} */
  readonly top?: number | undefined;
  /** Names the sample in progress and error messages. @default {"prompt"} */
  readonly sample?: string | undefined;
  /** The attention of this context in place of the model's: see `GenerateOptions.plan`. */
  readonly plan?: PlanOptions | undefined;
  /** Told where the run stands. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Ends the run: what it took is freed on all ranks, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A token with its score. */
export interface ScoredToken extends TokenScore {
  /** The token. */
  readonly id: number;
}

/** A continuation's log-probabilities. */
export interface Scores {
  /** The continuation's tokens, in order. */
  readonly tokens: readonly ScoredToken[];
  /** Sum of all `logprob`. */
  readonly logprob: number;
  /** The most likely token behind the continuation. */
  readonly next: ScoredToken;
}

const NAMES = ["top", "sample", "plan", "onProgress", "signal"] as const satisfies readonly (
  keyof ScoreOptions
)[];
/** More would be a copy of the logits. */
const MAX_TOP = 1024;

/**
 * Checks what may be asked before anything is done.
 *
 * @throws {UsageError} If an option is unknown, or of another kind.
 * @throws The signal's reason.
 */
export function checkScoreOptions(options: ScoreOptions): void {
  const action = "score";
  checkNames(options, { action, known: NAMES });
  const { onProgress, signal } = options;
  checkFunctions(action, { onProgress });
  checkSignal({ action, name: "signal" }, signal);
  signal?.throwIfAborted();
}

/**
 * The request that scores a continuation. Its first token is scored by the last one of the context,
 * which is therefore part of the query.
 *
 * @throws {UsageError} If an option cannot be used.
 * @throws {RequestError} If context or continuation has no token.
 */
export async function scoreRequest(
  texts: { context: string | Int32Array; continuation: string | Int32Array },
  options: ScoreOptions,
  parts: { tokenizer: TextTokenizer; plan: Plan; vocabularySize: number },
): Promise<{ request: GenerateRequest; continuationIds: Int32Array }> {
  const action = "score";
  const context = checkPart({ action, name: "context" }, texts.context);
  const query = checkPart({ action, name: "continuation" }, texts.continuation);
  const sample = checkText({ action, name: "sample" }, options.sample ?? "prompt");
  const top = checkWhole({ action, name: "top" }, {
    value: options.top ?? 0,
    min: 0,
    max: MAX_TOP,
  });
  // Each on its own, in every mode: a token must not reach from the context into the continuation.
  const { tokenizer } = parts;
  const ids = {
    context: typeof context === "string" ? await tokenizer.encode(context) : context,
    query: typeof query === "string" ? await tokenizer.encode(query) : query,
  };
  const { contextIds, queryIds } = await promptIds({ ...ids, sample }, parts);
  for (const [name, { length }] of [["context", contextIds], ["continuation", queryIds]] as const) {
    if (length > 0) continue;
    throw new RequestError(
      `Cannot score sample ${sample} as its ${name} must have a token: current value is 0`,
    );
  }
  const last = contextIds.length - 1;
  const asked = new Int32Array(queryIds.length + 1);
  asked.set(contextIds.subarray(last));
  asked.set(queryIds, 1);
  const request: GenerateRequest = {
    sample,
    contextIds: contextIds.slice(0, last),
    queryIds: asked,
    tokensToGenerate: 1,
    stopIds: [],
    topLogits: 0,
    tokenScores: top,
  };
  return { request, continuationIds: queryIds };
}

/** What was found, token by token. */
export function joinScores(
  found: { continuationIds: Int32Array; scores: readonly TokenScore[]; nextId: number },
): Scores {
  const { continuationIds, scores, nextId } = found;
  const all = scores.map((score, i) => ({ id: continuationIds[i] ?? nextId, ...score }));
  const next = all.pop();
  const tokens = all;
  invariant(next !== undefined && all.length === continuationIds.length, "each token has a score");
  return { tokens, next, logprob: tokens.reduce((sum, { logprob }) => sum + logprob, 0) };
}
