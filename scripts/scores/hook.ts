/**
 * The selection that `try_scores.ts` sets: it runs in the same process.
 *
 * @module
 */
import type { SelectionInfo } from "../../mod.ts";

/** Chooses tiles of a head, [rows, columns]; undefined for all. */
export type Chooser = (info: SelectionInfo) => Promise<Uint8Array | undefined>;

/** What the next prompts are selected by. */
export const current: { choose: Chooser | undefined } = { choose: undefined };

/** All tiles, unless there is a choice. */
export async function select(_mass: Float32Array, info: SelectionInfo): Promise<Uint8Array> {
  const chosen = await current.choose?.(info);
  return chosen ?? new Uint8Array(info.rows * info.columns).fill(1);
}
