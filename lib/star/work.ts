/**
 * What the encoding of a rank's blocks took, in numbers.
 *
 * @module
 */
import type { TileCount } from "../attention/xattention.ts";
import { Libc } from "../ffi/libc.ts";
import type { Phase1Result } from "./phase1.ts";
import type { RankCounters } from "./request.ts";

/** What the encoding of a rank's blocks took. */
export function countWork(
  encoded: Pick<Phase1Result, "anchorPasses" | "selected">,
  own: { rank: number; blocks: number; blockTokens: number },
): Omit<RankCounters, "prefillSeconds" | "decodeSeconds"> {
  const { selected: selectedTiles, causal: causalTiles } = totalCount(encoded);
  const { anchorPasses } = encoded;
  return { ...own, anchorPasses, selectedTiles, causalTiles, residentMib: peakResidentMib() };
}

/** The tiles of all sequences and layers together. */
export function totalCount(
  encoded: Pick<Phase1Result, "selected">,
): Pick<TileCount, "selected" | "causal"> {
  const counts = encoded.selected.flat();
  return {
    selected: counts.reduce((sum, { selected }) => sum + selected, 0),
    causal: counts.reduce((sum, { causal }) => sum + causal, 0),
  };
}

function peakResidentMib(): number {
  using libc = new Libc();
  return Math.round(libc.peakResidentBytes() / 2 ** 20);
}

/** The tiles that each query head took, by layer, over all sequences. */
export function sumHeads(
  selected: readonly (readonly Pick<TileCount, "heads">[])[],
): readonly (readonly number[])[] {
  const [first = []] = selected;
  return first.map(({ heads }, layer) =>
    heads.map((_, head) =>
      selected.reduce((sum, layers) => sum + (layers[layer]?.heads[head] ?? 0), 0)
    )
  );
}
