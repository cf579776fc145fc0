/**
 * What is asked of the model for one sample, and what comes back: plain data that crosses process
 * boundaries; and the engine, which is asked.
 *
 * @module
 */
import { RequestError } from "../errors.ts";
import type { TileMask } from "../attention/tile_masks.ts";
import type { WireCurves } from "../attention/mass_curves.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { TokenScore } from "./token_scores.ts";

/** One sample: its context and query as token ids, and how to generate. */
export interface GenerateRequest {
  /** Names the sample in progress and error messages. */
  readonly sample: string;
  /** Ids of the context, tokenized without added special tokens. */
  readonly contextIds: Int32Array;
  /** Ids of the query, tokenized on its own; at least one. */
  readonly queryIds: Int32Array;
  /** How many tokens to generate, at least 1. */
  readonly tokensToGenerate: number;
  /** Ids after which generation may end early; such an id is the last of the result. */
  readonly stopIds: readonly number[];
  /** How many of the first position's largest logits to return; 0 for none. */
  readonly topLogits: number;
  /** Whether to return which tiles were selected; not in the ring's modes. @default {false} */
  readonly withMasks?: boolean | undefined;
  /**
   * Whether to compute exact attention and to return what selections of tiles would keep of it; in
   * modes that select, but not in the ring's.
   *
   * @default {false}
   */
  readonly withCurves?: boolean | undefined;
  /** The attention of this request in place of the model's, whose merge it has. */
  readonly plan?: CheckedPlan | undefined;
  /**
   * Whether the context stays encoded for the next requests with the same one: they take it as it
   * is, until one comes that does not keep it.
   *
   * @default {false}
   */
  readonly keepContext?: boolean | undefined;
  /**
   * Asks for the log-probabilities of the query's tokens, and for so many of the most likely ones at
   * each position.
   */
  readonly tokenScores?: number | undefined;
}

/** How much one rank computed: the proof of who did what. */
export interface RankCounters {
  /** Its number, from 0. */
  readonly rank: number;
  /** Context blocks that this rank encoded; pieces of the context in the ring's modes. */
  readonly blocks: number;
  /** Context tokens that this rank encoded as part of blocks, the anchor not included. */
  readonly blockTokens: number;
  /** Times that this rank encoded the anchor block on its own: 0 (it owns block 0) or 1. */
  readonly anchorPasses: number;
  /** Tiles of 128 x 128 that were selected, and so computed, over all layers and heads. */
  readonly selectedTiles: number;
  /** Causal tiles that dense attention would have computed in their place. */
  readonly causalTiles: number;
  /** The most memory that the process had resident so far, in MiB; mapped weights count. */
  readonly residentMib: number;
  /** Seconds from the request's arrival to the end of phase 1. */
  readonly prefillSeconds: number;
  /** Seconds spent in phase 2: query and generated tokens. */
  readonly decodeSeconds: number;
}

/** The outcome of one sample. */
export interface GenerateResult {
  /** Generated ids, a stop id included if one ended the generation. */
  readonly ids: readonly number[];
  /** `[id, logit]` of the first generated position, largest first. */
  readonly topLogits: readonly (readonly [number, number])[];
  /**
   * Tiles of the attention matrix per context block and layer: layer 0 of block 0, layer 1 of
   * block 0, ...; in `ringx` per rank and layer. `[selected, causal]` over all query heads and the
   * block's own rows (the anchor's rows are counted nowhere). The last layer is missing: phase 1 needs
   * only its keys and values. Empty in modes without selection.
   */
  readonly selectedTiles: readonly (readonly [number, number])[];
  /**
   * Of each layer, the share of the causal tiles that each query head selected, over all context blocks;
   * empty in modes without selection.
   */
  readonly headShares: readonly (readonly number[])[];
  /** The tiles that each block's rows selected, if that was asked for and is not too much. */
  readonly masks: readonly TileMask[];
  /** What each threshold would keep, over all blocks, if that was asked for. */
  readonly curves?: WireCurves | undefined;
  /** Of the query's tokens from the second one on and of the first generated one, if asked for. */
  readonly scores?: readonly TokenScore[] | undefined;
  /** One entry per rank, in rank order. */
  readonly ranks: readonly RankCounters[];
}

/** Where a run stands, for a progress bar. */
export interface Progress {
  /** What is being computed: the context, or query and answer. */
  readonly phase: "phase 1" | "phase 2";
  /** Share of the phase that is done, 0 to 1, over all ranks. */
  readonly fraction: number;
  /** Tokens generated so far. */
  readonly generatedTokens: number;
  /** Their ids, where they are asked for. */
  readonly ids?: readonly number[] | undefined;
}

/** What the run of a sample may come with. */
export interface GenerateCall {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /**
   * Asked again and again about the ids so far, the latest ones at least now and then: whether the
   * answer may end. It ends soon after, and not always behind the same token.
   */
  readonly isDone?: ((ids: readonly number[]) => Promise<boolean>) | undefined;
  /** Gets the ids so far, the latest ones at least now and then. */
  readonly onIds?: ((ids: readonly number[]) => void) | undefined;
  /** Ends the run: what it took is freed on all ranks, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A model that is ready for samples: it takes some at once, and those that come meanwhile wait. */
export interface Engine extends AsyncDisposable {
  readonly config: ModelShape;
  /** Samples that are decoded at once, at most. */
  readonly batchSize: number;
  /** One line for people: device and processes. */
  readonly deviceDescription: string;
  /** Settles when a process is lost, without which nothing can be run; absent where there is none. */
  readonly lost?: Promise<Error> | undefined;
  /**
   * Runs one sample.
   *
   * @throws {RequestError} If the query is empty.
   * @throws {DeviceError} If there is not enough memory; the engine goes on.
   * @throws {WorkerError} If a worker process is lost; the message names rank, phase and sample.
   * @throws {TypeError} If the engine is disposed.
   * @throws The signal's reason; an `AbortError` if the engine is disposed of meanwhile.
   */
  generate(request: GenerateRequest, call?: GenerateCall): Promise<GenerateResult>;
}

/**
 * Checks what can be seen of a request before anything is computed.
 *
 * @param model What the ids must fit, where it is known.
 * @throws {RequestError} If there is no query, nothing to generate, or an id that is no token.
 */
export function checkRequest(
  request: Omit<GenerateRequest, "contextIds"> & Partial<Pick<GenerateRequest, "contextIds">>,
  model: { vocabularySize: number } | undefined = undefined,
): void {
  const { sample, queryIds, tokensToGenerate, topLogits } = request;
  const what = `generate for sample ${sample}`;
  if (queryIds.length === 0) {
    throw new RequestError(
      `Cannot generate for sample ${request.sample} as its query must have a token: current value is 0`,
    );
  }
  if (!Number.isSafeInteger(tokensToGenerate) || tokensToGenerate < 1) {
    throw new RequestError(
      `Cannot generate as 'tokensToGenerate' must be a whole number above 0: current value is ${tokensToGenerate}`,
    );
  }
  if (!Number.isSafeInteger(topLogits) || topLogits < 0) {
    throw new RequestError(
      `Cannot generate as 'topLogits' must be a whole number of at least 0: current value is ${topLogits}`,
    );
  }
  if (model === undefined) return;
  checkIds(request.contextIds ?? new Int32Array(0), { what, ...model });
  checkIds(queryIds, { what, ...model });
}

/**
 * Checks that ids are tokens.
 *
 * @param options `what`: what is to be done with them, for the message.
 * @throws {RequestError} If one is not.
 */
export function checkIds(
  ids: Int32Array,
  options: { what: string; vocabularySize: number },
): void {
  const { what, vocabularySize } = options;
  const wrong = ids.find((id) => id < 0 || id >= vocabularySize);
  if (wrong === undefined) return;
  throw new RequestError(
    `Cannot ${what} as its token ids must be from 0 to ${
      vocabularySize - 1
    }: current value is ${wrong}`,
  );
}
