/**
 * The reference values of the attention modes, from `tests/golden/attention.json`.
 *
 * They were computed by an independent float32 implementation; the file's layout is described there
 * where it comes from: prompts, their ids, and per mode the first logits and 24 greedy ids.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";

/** What one mode gives for one prompt. */
export interface GoldenMode {
  readonly first_logits_top24: readonly (readonly [number, number])[];
  readonly greedy_ids: readonly number[];
  readonly text: string;
  /** Per local sequence and layer; null in dense modes. */
  readonly selected_blocks: readonly (readonly [number, number])[] | null;
}

/** One prompt. */
export interface GoldenEntry {
  readonly task: string;
  readonly context: string;
  readonly query: string;
  readonly context_ids: readonly number[];
  readonly query_ids: readonly number[];
  readonly block_size: number;
  readonly anchor_block_size: number;
  readonly ranks: number;
  readonly modes: Readonly<Record<string, GoldenMode>>;
}

/** All prompts. */
export async function goldenEntries(): Promise<GoldenEntry[]> {
  const url = new URL("../golden/attention.json", import.meta.url);
  return JSON.parse(await Deno.readTextFile(url));
}

/** The plan behind a mode's name, or undefined where the sizes do not allow the mode. */
export function goldenPlan(name: string, entry: GoldenEntry): PlanOptions | undefined {
  const { block_size: blockTokens, anchor_block_size: anchorTokens } = entry;
  const base = { blockTokens, anchorTokens, stride: 16, threshold: 0.9, merge: "lse" } as const;
  const whole = blockTokens % 128 === 0 && anchorTokens % 128 === 0;
  switch (name) {
    case "dense":
      return { ...base, mode: "dense" };
    case "xattn_S16_t0.9":
      return { ...base, mode: "xattn" };
    case "xattn_S8_t0.8":
      return { ...base, mode: "xattn", stride: 8, threshold: 0.8 };
    case "star":
      return { ...base, mode: "star" };
    case "starx_p1_S16_t0.9":
      return whole ? { ...base, mode: "starx" } : undefined;
    case "star_seedweights_S16":
      return { ...base, mode: "star", merge: "antidiagonal" };
    default:
      throw new TypeError(`Cannot plan the reference's mode ${name}`);
  }
}
