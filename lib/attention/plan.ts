/**
 * What a run computes: how the context is cut, and whether tiles of the attention matrix are
 * selected. Options are checked here once; what comes out is plain data that goes to every rank.
 *
 * Sources: Star Attention (arXiv 2411.17116), XAttention (arXiv 2503.16428), and exact attention
 * over a context that is spread over processes, as Ring Attention (arXiv 2310.01889) has it.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { checkChoice, optionError } from "../options.ts";
import { checkDecodeKeep, type DecodeKeep } from "./decode_keep.ts";
import { REST_RULES, type RestRule } from "./rest.ts";
import {
  isTable,
  readTable,
  tableError,
  type Threshold,
  type ThresholdTable,
} from "./thresholds.ts";

/** What each mode stands for, and what its results are called in folders and records. */
const MODES = {
  dense: { cut: "whole", selects: false },
  xattn: { cut: "whole", selects: true },
  star: { cut: "blocks", selects: false },
  starx: { cut: "blocks", selects: true },
  ring: { cut: "parts", selects: false },
  ringx: { cut: "parts", selects: true },
} as const satisfies Record<AttentionMode, { cut: ContextCut["kind"]; selects: boolean }>;

/**
 * `dense`, `xattn` (tiles selected by antidiagonal mass), `star` (blocks with an anchor), `starx`
 * (both), `ring` (dense, the context spread over the processes), `ringx` (ring with selection).
 */
export type AttentionMode = "dense" | "xattn" | "star" | "starx" | "ring" | "ringx";

/** All modes, in the order of help texts. */
export const ATTENTION_MODES: readonly AttentionMode[] = Object.keys(MODES).filter(isMode);

/** Whether a mode cuts the context into blocks. */
export function hasBlocks(mode: AttentionMode): boolean {
  return MODES[mode].cut === "blocks";
}

/** Whether a mode selects tiles. */
export function selectsTiles(mode: AttentionMode): boolean {
  return MODES[mode].selects;
}

/** How phase 2 merges the ranks' parts: by log-sum-exp, or by StarXAttention's weights. */
export type MergeRule = "lse" | "antidiagonal";

/** All rules, in the order of help texts. */
export const MERGE_RULES = ["lse", "antidiagonal"] as const satisfies readonly MergeRule[];

/** The one home of the defaults. */
export const PLAN_DEFAULTS = {
  mode: "dense",
  stride: 16,
  threshold: 0.95,
  rest: "drop",
  merge: "lse",
} as const satisfies PlanOptions;

/** The attention of a run as a caller asks for it. What a mode does not use is not looked at. */
export interface PlanOptions {
  /** What is computed. @default {"dense"} */
  readonly mode?: AttentionMode | undefined;
  /** Context tokens per block, in `star` and `starx`, where it must be given. */
  readonly blockTokens?: number | undefined;
  /** Context tokens of the anchor block. @default {blockTokens} */
  readonly anchorTokens?: number | undefined;
  /** Tokens per group of the antidiagonal sums, a divisor of 128. @default {16} */
  readonly stride?: number | undefined;
  /**
   * Share of a row's antidiagonal mass that the selected tiles must hold, above 0 and at most 1; or
   * `{ share }`, which each selected tile must hold by itself; or a threshold for each layer and query
   * head.
   *
   * @default {0.95}
   */
  readonly threshold?: Threshold | undefined;
  /**
   * What becomes of the tiles that are not selected: `mean` keeps of each one mean key and one mean
   * value, with the weight of its 128 keys.
   *
   * @default {"drop"}
   */
  readonly rest?: RestRule | undefined;
  /** How the parts of several ranks are merged, in `star` and `starx`. @default {"lse"} */
  readonly merge?: MergeRule | undefined;
  /**
   * Which keys query and answer read, in all modes but `ring` and `ringx`: a share of the tiles of 128
   * keys, those of the largest pooled attention mass, or with `threshold` as many as hold that share of
   * it, per layer and key head; the others enter by their mean. In `star` and `starx` each block's tiles
   * are chosen among by themselves. Above 0 and at most 1.
   *
   * @default {1}
   */
  readonly decodeKeep?: number | DecodeKeep | undefined;
}

/** The names of the options. */
export const PLAN_OPTION_NAMES = [
  "mode",
  "blockTokens",
  "anchorTokens",
  "stride",
  "threshold",
  "rest",
  "merge",
  "decodeKeep",
] as const satisfies readonly (keyof PlanOptions)[];

/** The context in blocks that are encoded on their own, each behind an anchor. */
export interface BlockCut {
  /** Tells the cuts apart. */
  readonly kind: "blocks";
  /** Context tokens per block. */
  readonly blockTokens: number;
  /** Context tokens of the anchor block, at most those of a block. */
  readonly anchorTokens: number;
  /** How the parts of several ranks are merged. */
  readonly merge: MergeRule;
}

/** How the context is cut: not at all, in blocks, or in a part of two pieces for each rank. */
export type ContextCut = { readonly kind: "whole" } | BlockCut | { readonly kind: "parts" };

/** Which tiles are computed. */
export interface TileSelection {
  /** Tokens per group of the antidiagonal sums, a divisor of 128. */
  readonly stride: number;
  /**
   * Share of a row's antidiagonal mass that the selected tiles must hold, or each of them, in (0, 1];
   * or one for each layer and query head, in [0, 1].
   */
  readonly threshold: Threshold;
  /** Absent where tiles that are not selected are dropped. */
  readonly rest?: "mean";
}

/** The attention of one run: a cut, and with a selection or without. */
export interface Plan {
  /** How the context is cut. */
  readonly cut: ContextCut;
  /** Absent where all tiles are computed. */
  readonly selection?: TileSelection;
  /** Absent where phase 2 reads all keys. */
  readonly decodeKeep?: DecodeKeep;
}

/** The mark of a plan that was checked. Only the compiler sees it: a plan is plain data. */
export const CHECKED: unique symbol = Symbol("checked");

/** A plan from {@linkcode checkPlan}, the only place that makes one. */
export type CheckedPlan = Plan & { readonly [CHECKED]: true };

/**
 * Checks what was asked for and makes a plan of it.
 *
 * @param options What the caller asks for.
 * @returns The plan.
 * @throws {UsageError} If the mode is unknown, or a size, the stride, the threshold, the rest, the
 * merge or what phase 2 keeps is out of its range; the message names the option.
 * @example
 * ```ts
 * import { checkPlan } from "@starx/starx";
 * import { equal } from "node:assert/strict";
 * const plan = checkPlan({ mode: "starx", blockTokens: 4096 });
 * equal(plan.cut.kind, "blocks");
 * equal(plan.selection?.threshold, 0.95);
 * ```
 */
export function checkPlan(options: PlanOptions): CheckedPlan {
  const { mode = PLAN_DEFAULTS.mode } = options;
  checkChoice({ action: "plan the attention", name: "mode" }, {
    value: mode,
    choices: ATTENTION_MODES,
  });
  const { cut: kind, selects } = MODES[mode];
  const cut: ContextCut = kind === "blocks" ? checkBlocks(options, { selects }) : { kind };
  const decodeKeep = checkDecodeKeep(options.decodeKeep, cut);
  const plan: Plan = {
    cut,
    ...(selects ? { selection: checkSelection(options) } : {}),
    ...(decodeKeep === undefined ? {} : { decodeKeep }),
  };
  return plan as CheckedPlan;
}

function isMode(mode: string): mode is AttentionMode {
  return Object.hasOwn(MODES, mode);
}

function checkSelection(options: PlanOptions): TileSelection {
  const { stride = PLAN_DEFAULTS.stride, threshold = PLAN_DEFAULTS.threshold } = options;
  const { rest = PLAN_DEFAULTS.rest } = options;
  checkChoice({ action: "select tiles", name: "rest" }, { value: rest, choices: REST_RULES });
  const kept = rest === "mean" ? { rest } : {};
  if (!Number.isInteger(stride) || stride < 1 || TILE_TOKENS % stride !== 0) {
    throw optionError({ action: "select tiles", name: "stride" }, {
      rule: "a divisor of 128",
      value: stride,
    });
  }
  if (typeof threshold === "object" && threshold !== null && isTable(threshold)) {
    return { stride, threshold: checkTable(threshold, { stride }), ...kept };
  }
  const isShare = typeof threshold === "object" && threshold !== null;
  const value: unknown = isShare ? threshold.share : threshold;
  // Kernels take it as a number of 32 bits, in which the smallest ones are 0.
  if (!(typeof value === "number" && Math.fround(value) > 0 && value <= 1)) {
    const name = isShare ? "threshold.share" : "threshold";
    throw optionError({ action: "select tiles", name }, { rule: "above 0 and at most 1", value });
  }
  return { stride, threshold: isShare ? { share: value } : value, ...kept };
}

/** Thresholds depend on the sums that they are compared with. */
function checkTable(value: ThresholdTable, options: { stride: number }): ThresholdTable {
  const action = "select tiles";
  const table = readTable(value, ({ key, rule, value }) => {
    return optionError({ action, name: key === "" ? "threshold" : `threshold.${key}` }, {
      rule,
      value,
    });
  });
  const { file } = value;
  if (table.stride === options.stride) return file === undefined ? table : { ...table, file };
  throw tableError(value, {
    key: "stride",
    rule: `'stride' ${options.stride}`,
    value: table.stride,
  });
}

function checkBlocks(options: PlanOptions, mode: { selects: boolean }): BlockCut {
  const { blockTokens, merge = PLAN_DEFAULTS.merge } = options;
  const { anchorTokens = blockTokens } = options;
  const block = checkBlockSize("blockTokens", blockTokens, mode);
  const anchor = checkBlockSize("anchorTokens", anchorTokens, mode);
  if (anchor > block) {
    throw optionError({ action: "plan blocks", name: "anchorTokens" }, {
      rule: `at most 'blockTokens' ${block}`,
      value: anchor,
    });
  }
  checkChoice({ action: "plan blocks", name: "merge" }, { value: merge, choices: MERGE_RULES });
  return { kind: "blocks", blockTokens: block, anchorTokens: anchor, merge };
}

function checkBlockSize(
  name: string,
  value: number | undefined,
  mode: { selects: boolean },
): number {
  const place = { action: "plan blocks", name };
  if (value === undefined || !Number.isInteger(value) || value < 1) {
    throw optionError(place, { rule: "a whole number above 0", value });
  }
  if (mode.selects && value % TILE_TOKENS !== 0) {
    throw optionError(place, { rule: "a multiple of 128 in starx", value });
  }
  return value;
}

/** The mode's name. */
export function modeOf(plan: Plan): AttentionMode {
  const selects = plan.selection !== undefined;
  const found = ATTENTION_MODES.find((mode) =>
    MODES[mode].cut === plan.cut.kind && MODES[mode].selects === selects
  );
  invariant(found !== undefined, "every plan has a mode");
  return found;
}

/**
 * How many of some ranks share a context: the one answer to how many processes a plan uses.
 *
 * @param options `ranks`: those that there are. `contextTokens`: a shorter context has fewer blocks
 * than there may be ranks; without it the context counts as long enough.
 * @returns At least 1: the first ranks have a part of the context, the others none.
 */
export function usedRanks(
  plan: CheckedPlan,
  options: { ranks: number; contextTokens?: number | undefined },
): number {
  const { ranks, contextTokens = Infinity } = options;
  return Math.max(1, Math.min(ranks, partCount(plan, contextTokens)));
}

/** Among how many ranks a context can be dealt. */
function partCount({ cut }: Plan, contextTokens: number): number {
  switch (cut.kind) {
    case "whole":
      return 1;
    case "blocks":
      return Math.ceil(contextTokens / cut.blockTokens);
    case "parts":
      return Math.ceil(contextTokens / TILE_TOKENS);
  }
}

/** Whether several processes can share one context. */
export function sharesContext(plan: CheckedPlan): boolean {
  return usedRanks(plan, { ranks: 2 }) > 1;
}

/** How phase 2 merges the ranks' parts. */
export function mergeOf({ cut }: Plan): MergeRule {
  return cut.kind === "blocks" ? cut.merge : "lse";
}

/** Context tokens of the anchor block; 0 where the context is not cut in blocks. */
export function anchorTokensOf({ cut }: Plan): number {
  return cut.kind === "blocks" ? cut.anchorTokens : 0;
}
