/**
 * Requests and results as they cross between processes.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import { decodeInt32, encodeInt32 } from "../team/protocol.ts";
import type { RankResult } from "./rank.ts";
import type { GenerateRequest, GenerateResult } from "../star/request.ts";

/** A request as it crosses to another process. */
export interface WireRequest extends Omit<GenerateRequest, "contextIds" | "queryIds"> {
  /** Base64 of 32-bit integers. */
  readonly context: string;
  readonly query: string;
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

/** Joins the ranks' results: all have learnt the same tokens, only the query host has logits. */
export function joinResults(results: readonly RankResult[]): GenerateResult {
  const [{ ids = [] } = {}] = results;
  const isSame = results.every((result) => String(result.ids) === String(ids));
  invariant(isSame, "all ranks learn the same tokens");
  return {
    ids,
    topLogits: results.find((result) => result.topLogits.length > 0)?.topLogits ?? [],
    selectedBlocks: results.flatMap((result) => result.selectedBlocks),
    ranks: results.map((result) => result.counters),
  };
}
