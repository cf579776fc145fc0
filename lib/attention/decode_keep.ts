/**
 * Which keys phase 2 reads: all of them, or those of the tiles that matter to its queries, the others
 * by their mean (`docs/selection.md` says what that keeps).
 *
 * @module
 */
import { TILE_TOKENS } from "../ffi/symbols.ts";
import type { DecodeKeep } from "../ops/decode_select.ts";
import { optionError } from "../options.ts";

export type { DecodeKeep } from "../ops/decode_select.ts";

/** What matters here of how a context is cut. */
interface Cut {
  readonly kind: "whole" | "blocks" | "parts";
  readonly blockTokens?: number;
  readonly merge?: string;
}

/**
 * Checks what phase 2 is to keep.
 *
 * @param wanted As in `PlanOptions`.
 * @returns Undefined where all keys are read.
 * @throws {UsageError} If it is out of its range, or the cut has no units of whole tiles.
 */
export function checkDecodeKeep(
  wanted: number | DecodeKeep | undefined,
  cut: Cut,
): DecodeKeep | undefined {
  if (wanted === undefined) return undefined;
  const keep = readKeep(wanted);
  if (("share" in keep ? keep.share : keep.threshold) === 1) return undefined;
  const place = { action: "choose keys of phase 2", name: "decodeKeep" };
  if (cut.kind === "parts") {
    throw optionError(place, { rule: "absent in ring and ringx", value: describeKeep(keep) });
  }
  const { merge = "lse", blockTokens = 0 } = cut;
  if (merge !== "lse") {
    throw optionError(place, { rule: "absent unless 'merge' is lse", value: describeKeep(keep) });
  }
  if (blockTokens % TILE_TOKENS !== 0) {
    throw optionError({ ...place, name: "blockTokens" }, {
      rule: `a multiple of ${TILE_TOKENS} with 'decodeKeep'`,
      value: blockTokens,
    });
  }
  return keep;
}

function readKeep(wanted: number | DecodeKeep): DecodeKeep {
  const rule = "a share, or { share } or { threshold }, above 0 and at most 1";
  const place = { action: "choose keys of phase 2", name: "decodeKeep" };
  const keep = typeof wanted === "number" ? { share: wanted } : wanted;
  if (typeof keep !== "object" || keep === null) throw optionError(place, { rule, value: wanted });
  const [entry, ...others] = Object.entries(keep);
  const [name = "", value] = entry ?? [];
  // Kernels take it as a number of 32 bits, in which the smallest ones are 0.
  const isInRange = typeof value === "number" && Math.fround(value) > 0 && value <= 1;
  if (others.length > 0 || !isInRange || (name !== "share" && name !== "threshold")) {
    throw optionError(place, { rule, value: typeof wanted === "number" ? wanted : entry });
  }
  return name === "share" ? { share: value } : { threshold: value };
}

/** As `--decode_keep` has it. */
export function describeKeep(keep: DecodeKeep): string {
  return "share" in keep ? String(keep.share) : `tau:${keep.threshold}`;
}

/** Tiles that are chosen among by themselves: those of a block; 0 for all of a context. */
export function unitTiles({ blockTokens = 0 }: Cut): number {
  return blockTokens / TILE_TOKENS;
}
