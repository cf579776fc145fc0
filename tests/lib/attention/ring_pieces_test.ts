import { checkPlan } from "../../../lib/attention/plan.ts";
import {
  type PiecesByRank,
  pieceTokens,
  QUERY_TOKENS,
  type RingCall,
  ringCalls,
  ringChunks,
} from "../../../lib/attention/ring_pieces.ts";
import { TILE_TOKENS } from "../../../lib/ffi/symbols.ts";
import { layOutBlocks } from "../../../lib/star/blocks.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { Random } from "../../helpers/random.ts";

function piecesOf(contextTokens: number, ranks: number): PiecesByRank {
  return layOutBlocks(checkPlan({ mode: "ring" }), { contextTokens, ranks }).blocksByRank;
}

/** The position of each row of a rank. */
function positionsOf(pieces: PiecesByRank[number]): number[] {
  return pieces.flatMap(({ start, end }) =>
    Array.from({ length: end - start }, (_, i) => start + i)
  );
}

/** The rows of a rank that a query of a call sees, by the rules of the ops of attention. */
function rowsSeen(call: RingCall, query: number, window: number): number[] {
  const { row, tokens, prefixTokens, prefixGap, qOffset } = call;
  const place = (number: number) => number < prefixTokens ? number : number + prefixGap;
  const rows: number[] = [];
  for (let key = 0; key < tokens && key <= qOffset + query; key++) {
    if (window > 0 && place(qOffset + query) - place(key) >= window) continue;
    rows.push(row + key);
  }
  return rows;
}

Deno.test("ringChunks() cuts each piece into chunks of its own", () => {
  const pieces = [{ start: 0, end: 640 }, { start: 2048, end: 2600 }];
  assertEquals(QUERY_TOKENS, 512);
  assertEquals(pieceTokens(pieces), 1192);
  assertEquals(ringChunks(pieces), [
    { start: 0, tokens: 512, row: 0 },
    { start: 512, tokens: 128, row: 512 },
    { start: 2048, tokens: 512, row: 640 },
    { start: 2560, tokens: 40, row: 1152 },
  ]);
  assertEquals(ringChunks([]), []);
});

Deno.test("ringCalls() has one call for each rank with keys in sight", () => {
  const pieces = piecesOf(1024, 2);
  assertEquals(ringCalls(pieces, { start: 256, tokens: 256 }, 0), [
    { rank: 0, row: 0, prefixTokens: 0, prefixGap: 0, tokens: 256, qOffset: 256 },
    { rank: 1, row: 0, prefixTokens: 0, prefixGap: 0, tokens: 256, qOffset: 0 },
  ]);
  // Rank 0 has a gap where rank 1's pieces are, and they have none.
  assertEquals(ringCalls(pieces, { start: 768, tokens: 256 }, 0), [
    { rank: 0, row: 0, prefixTokens: 0, prefixGap: 0, tokens: 512, qOffset: 256 },
    { rank: 1, row: 0, prefixTokens: 0, prefixGap: 0, tokens: 512, qOffset: 512 },
  ]);
  assertEquals(ringCalls(pieces, { start: 768, tokens: 256 }, 600), [
    { rank: 0, row: 0, prefixTokens: 256, prefixGap: 512, tokens: 512, qOffset: 256 },
    { rank: 1, row: 0, prefixTokens: 0, prefixGap: 0, tokens: 512, qOffset: 512 },
  ]);
  // The first pieces are out of reach.
  assertEquals(ringCalls(pieces, { start: 768, tokens: 256 }, 100), [
    { rank: 0, row: 256, prefixTokens: 0, prefixGap: 0, tokens: 256, qOffset: 0 },
    { rank: 1, row: 256, prefixTokens: 0, prefixGap: 0, tokens: 256, qOffset: 256 },
  ]);
});

Deno.test("ringCalls() shows each query every key that it sees, once", () => {
  const random = new Random(11);
  for (const contextTokens of [1, 130, 700, 1408, 1930]) {
    for (const ranks of [1, 2, 3, 4]) {
      for (const window of [0, 1, 90, 400, 1000]) {
        const pieces = piecesOf(contextTokens, ranks);
        for (const own of pieces) {
          for (const chunk of ringChunks(own)) {
            const calls = ringCalls(pieces, chunk, window);
            const [query = 0] = random.ints(1, { low: 0, high: chunk.tokens - 1 });
            const seen = calls.flatMap((call) => {
              const positions = positionsOf(pieces[call.rank] ?? []);
              return rowsSeen(call, query, window).map((row) => positions[row]);
            }).sort((a = NaN, b = NaN) => a - b);
            const last = chunk.start + query;
            const first = window === 0 ? 0 : Math.max(0, last - window + 1);
            const expected = Array.from({ length: last - first + 1 }, (_, i) => first + i);
            const place = `query ${last} of ${contextTokens}, ${ranks} ranks, window ${window}`;
            assertEquals(seen, expected, place);
            assertEquals(positionsOf(own)[chunk.row + query], last, place);
          }
        }
      }
    }
  }
});

/** Tiles of the attention matrix that a rank computes. */
function tilesOf(pieces: PiecesByRank, rank: number, window: number): number {
  let tiles = 0;
  for (const chunk of ringChunks(pieces[rank] ?? [])) {
    for (const call of ringCalls(pieces, chunk, window)) {
      for (let query = 0; query < chunk.tokens; query += TILE_TOKENS) {
        const end = Math.min(query + TILE_TOKENS, chunk.tokens);
        const rows = [query, end - 1].flatMap((one) => rowsSeen(call, one, window));
        tiles += new Set(rows.map((row) => Math.floor(row / TILE_TOKENS))).size;
      }
    }
  }
  return tiles;
}

Deno.test("the ranks of a ring compute as many tiles each", () => {
  for (const ranks of [2, 4, 8]) {
    for (const window of [0, 1024]) {
      const tileCount = 64;
      const pieces = piecesOf(tileCount * TILE_TOKENS, ranks);
      const tiles = pieces.map((_, rank) => tilesOf(pieces, rank, window));
      const all = tiles.reduce((sum, count) => sum + count, 0);
      if (window === 0) assertEquals(all, tileCount * (tileCount + 1) / 2, "no tile is left out");
      const share = Math.max(...tiles) / all * ranks;
      // A window leaves the first rows with less to see; without one all is even.
      const most = window === 0 ? 1 : 1.1;
      assert(
        share <= most,
        `${ranks} ranks, window ${window}: the largest has ${share} of its part`,
      );
    }
  }
});
