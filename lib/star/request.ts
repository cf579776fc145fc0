/**
 * What is asked of the model for one sample, and what comes back: plain data that crosses process
 * boundaries; and the engine, which is asked.
 *
 * @module
 */
import { RequestError } from "../errors.ts";
import type { TileMask } from "../attention/tile_masks.ts";
import type { ModelShape } from "../model/model_shape.ts";

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
}

/** How much one rank computed: the proof of who did what. */
export interface RankCounters {
  readonly rank: number;
  /** Context blocks that this rank encoded. */
  readonly blocks: number;
  /** Context tokens that this rank encoded as part of blocks, the anchor not included. */
  readonly blockTokens: number;
  /** Times that this rank encoded the anchor block on its own: 0 (it owns block 0) or 1. */
  readonly anchorPasses: number;
  /** Query-key blocks of 128 x 128 that sparse attention computed, over all layers and heads. */
  readonly selectedBlocks: number;
  /** Causal 128 x 128 blocks that dense attention would have computed in their place. */
  readonly causalBlocks: number;
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
   * Blocks of the attention matrix per context block and layer: layer 0 of block 0, layer 1 of
   * block 0, ...; `[taken, causal]` over all query heads and the block's own rows (the anchor's rows
   * are counted nowhere). The last layer is missing: phase 1 needs only its keys and values. Empty
   * in modes without selection.
   */
  readonly selectedBlocks: readonly (readonly [number, number])[];
  /**
   * Of each layer, the share of the causal tiles that each query head took, over all context blocks;
   * empty in modes without selection.
   */
  readonly headShares: readonly (readonly number[])[];
  /** The tiles that each block's rows took, if that was asked for and is not too much. */
  readonly masks: readonly TileMask[];
  /** One entry per rank, in rank order. */
  readonly ranks: readonly RankCounters[];
}

/** Where a run stands, for a progress bar. */
export interface Progress {
  readonly phase: "phase 1" | "phase 2";
  /** Share of the phase that is done, 0 to 1, over all ranks. */
  readonly fraction: number;
  /** Tokens generated so far. */
  readonly generatedTokens: number;
}

/** A model that is ready for samples, one at a time. */
export interface Engine extends AsyncDisposable {
  readonly config: ModelShape;
  /** One line for people: device and processes. */
  readonly deviceDescription: string;
  /**
   * Runs one sample.
   *
   * @throws {RequestError} If the query is empty.
   * @throws {WorkerError} If a worker process is lost; the message names rank, phase and sample.
   */
  generate(
    request: GenerateRequest,
    options?: { onProgress?: ((progress: Progress) => void) | undefined },
  ): Promise<GenerateResult>;
}

/** @throws {RequestError} If there is no query, or nothing to generate. */
export function checkRequest(request: Omit<GenerateRequest, "contextIds">): void {
  const { queryIds, tokensToGenerate } = request;
  if (queryIds.length === 0) {
    throw new RequestError(
      `Cannot generate for sample ${request.sample} as its query must have a token: current value is 0`,
    );
  }
  if (!Number.isInteger(tokensToGenerate) || tokensToGenerate < 1) {
    throw new RequestError(
      `Cannot generate as 'tokensToGenerate' must be a whole number above 0: current value is ${tokensToGenerate}`,
    );
  }
}
