/**
 * An answer under way on one rank, and what the rank tells of it in the end.
 *
 * @module
 */
import type { TileRecords } from "../attention/tile_records.ts";
import { tokensIn } from "../star/blocks.ts";
import type { Answer } from "../star/decoder.ts";
import type { EncodedContext } from "../star/encode.ts";
import { countWork, sumHeads } from "../star/work.ts";
import type { StarResult } from "./wire.ts";

/** A sample or a query whose tokens are being generated. */
export interface Running {
  readonly id: number;
  readonly encoded: EncodedContext;
  readonly answer: Answer;
  /** By which whoever asks can end it early. */
  readonly key: number | undefined;
  readonly records: TileRecords | undefined;
  /** The context's number where it outlives the answer. */
  readonly kept: number | undefined;
  /** Whether the context was encoded for this answer. */
  readonly isFresh: boolean;
  readonly startMs: number;
  readonly encodedMs: number;
}

/** What a rank tells of an answer that is done. */
export function resultOf(running: Running, rank: number): NonNullable<StarResult["generated"]> {
  const { answer, encoded: { phase1, sequence: { blocks } }, kept, records } = running;
  const { startMs, encodedMs } = running;
  const { ids, topLogits, scores } = answer;
  if (kept !== undefined) return { ids, topLogits };
  const work = running.isFresh
    ? countWork(phase1, { rank, blocks: blocks.length, blockTokens: tokensIn(blocks) })
    : countWork({ anchorPasses: 0, selected: [] }, { rank, blocks: 0, blockTokens: 0 });
  return {
    ids,
    topLogits,
    scores,
    selectedTiles: phase1.selected.flatMap((layers) =>
      layers.map(({ selected, causal }) => [selected, causal] as const)
    ),
    headTiles: sumHeads(phase1.selected),
    ...records?.recorded,
    counters: {
      ...work,
      prefillSeconds: (encodedMs - startMs) / 1000,
      decodeSeconds: (performance.now() - encodedMs) / 1000,
    },
  };
}
