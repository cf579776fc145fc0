/**
 * Requests and results as they cross between processes.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import type { BlockLayout } from "../star/blocks.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { RankOptions } from "./rank_types.ts";
import type { GenerateRequest, GenerateResult, Progress, RankCounters } from "../star/request.ts";
import { decodeInt32, encodeInt32 } from "../team/protocol.ts";
import type { TokenScore } from "../star/token_scores.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import { MassCurves, type WireCurves } from "../attention/mass_curves.ts";
import type { TileMask } from "../attention/tile_masks.ts";

/** What one rank found. */
export interface RankResult {
  readonly ids: readonly number[];
  /** Only from the query rank. */
  readonly topLogits: readonly (readonly [number, number])[];
  /** As in `GenerateResult`; only from the query rank. */
  readonly scores?: readonly TokenScore[];
  /** As in `GenerateResult`, for this rank's blocks. */
  readonly selectedTiles: readonly (readonly [number, number])[];
  /** Tiles that each query head selected, by layer, over this rank's blocks. */
  readonly headTiles: readonly (readonly number[])[];
  /** As in `GenerateResult`, for this rank's blocks. */
  readonly masks: readonly TileMask[];
  /** As in `GenerateResult`, for this rank's blocks. */
  readonly curves?: WireCurves | undefined;
  readonly counters: RankCounters;
}

/** A request as it crosses to another process. */
export interface WireRequest extends Omit<GenerateRequest, "contextIds" | "queryIds"> {
  /** Base64 of 32-bit integers. */
  readonly context: string;
  readonly query: string;
}

/** What the ranks of a model can be asked. */
export type StarTask =
  | {
    readonly kind: "generate";
    readonly request: WireRequest;
    /** Asks for the ids with the progress, and lets `stop` end the answer. */
    readonly key?: number | undefined;
  }
  /** Ends an answer where it is: what it has so far is its result. */
  | { readonly kind: "stop"; readonly key: number }
  /** Encodes a context and keeps it under a number. */
  | {
    readonly kind: "encode";
    readonly context: number;
    /** Base64 of 32-bit integers. */
    readonly ids: string;
    readonly room: number;
    /** In place of the model's. */
    readonly plan?: CheckedPlan | undefined;
  }
  /** Asks about a context that is kept; the request's own is empty. */
  | { readonly kind: "answer"; readonly context: number; readonly request: WireRequest }
  /** Frees a context, if it is there. */
  | { readonly kind: "free"; readonly context: number };

/** What a rank tells of a context that it has encoded. */
export interface EncodedFacts {
  readonly layout: BlockLayout;
  /** Times that this rank encoded the anchor block on its own. */
  readonly anchorPasses: number;
  /** Per block of this rank and layer. */
  readonly selected: readonly (readonly { readonly selected: number; readonly causal: number }[])[];
}

/** The bodies that an engine and its ranks exchange. */
export interface StarTypes {
  init: RankOptions;
  ready: {
    readonly config: ModelShape;
    readonly deviceDescription: string;
    /** What carries the ranks' parts. */
    readonly exchange: string;
    /** Sequences that are decoded at once, at most. */
    readonly batchSize: number;
  };
  request: StarTask;
  result: StarResult;
  progress: Progress;
}

/** What a rank found; which of them depends on the task. */
export interface StarResult {
  /** Of `generate`; of `answer` without `selectedTiles` and `counters`. */
  readonly generated?: Pick<RankResult, "ids" | "topLogits"> & Partial<RankResult>;
  /** Of `encode`. */
  readonly encoded?: EncodedFacts;
}

/** Turns a request into what crosses. */
export function toWire(request: GenerateRequest): WireRequest {
  const { contextIds, queryIds, ...rest } = request;
  return { ...rest, context: encodeInt32(contextIds), query: encodeInt32(queryIds) };
}

/** The inverse of `toWire()`. */
export function fromWire(wire: WireRequest): GenerateRequest {
  const { context, query, ...rest } = wire;
  return { ...rest, contextIds: decodeInt32(context), queryIds: decodeInt32(query) };
}

/** What all ranks have learnt: the same tokens; only the query rank has logits. */
export function joinAnswers(
  results: readonly Pick<RankResult, "ids" | "topLogits">[],
): Pick<GenerateResult, "ids" | "topLogits"> {
  const [{ ids = [] } = {}] = results;
  const isSame = results.every((result) => String(result.ids) === String(ids));
  invariant(isSame, "all ranks learn the same tokens");
  return {
    ids,
    topLogits: results.find((result) => result.topLogits.length > 0)?.topLogits ?? [],
  };
}

/** Joins the ranks' results. */
export function joinResults(results: readonly RankResult[]): GenerateResult {
  return {
    ...joinAnswers(results),
    scores: results.flatMap(({ scores = [] }) => scores),
    selectedTiles: results.flatMap((result) => result.selectedTiles),
    headShares: headShares(results),
    masks: results.flatMap((result) => result.masks),
    ...joinCurves(results.flatMap(({ curves }) => curves ?? [])),
    ranks: results.map((result) => result.counters),
  };
}

/** Sums of whole numbers, which are the same in any order. */
function joinCurves(all: readonly WireCurves[]): Pick<GenerateResult, "curves"> {
  const [first, ...others] = all.map(MassCurves.fromWire);
  if (first === undefined) return {};
  for (const curves of others) first.merge(curves);
  return { curves: first.toWire() };
}

/** As many of a layer's causal tiles fall to each head. */
function headShares(results: readonly RankResult[]): readonly (readonly number[])[] {
  const layers = Math.max(0, ...results.map(({ headTiles }) => headTiles.length));
  return Array.from({ length: layers }, (_, layer) => {
    const heads = Math.max(0, ...results.map(({ headTiles }) => headTiles[layer]?.length ?? 0));
    // The counts stand block by block, each with all layers.
    const causal = results.flatMap(({ selectedTiles }) =>
      selectedTiles.filter((_, place) => place % layers === layer)
    ).reduce((sum, [, all]) => sum + all, 0);
    return Array.from({ length: heads }, (_, head) => {
      const taken = results.reduce(
        (sum, { headTiles }) => sum + (headTiles[layer]?.[head] ?? 0),
        0,
      );
      return causal === 0 ? 0 : taken * heads / causal;
    });
  });
}
