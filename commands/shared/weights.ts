/**
 * The flags that say what weights, keys and values are rounded to, and how a report says it.
 *
 * @module
 */
import { LOAD_DEFAULTS, WEIGHT_WISHES } from "../../lib/engine/options.ts";
import { type EightBits, isEightBits, type WeightWish } from "../../lib/model/precision.ts";
import { choiceFlag, switchFlag } from "./flags.ts";

/** What a command is asked for. */
export interface WeightOptions extends WeightWish {
  /** Whether weights that are rounded to 8 bits are kept beside the model. */
  readonly keepWeights?: boolean | undefined;
}

/** Values of the flags. */
export interface WeightFlags {
  readonly weights: "auto" | "bf16" | EightBits;
  readonly head: "bf16" | EightBits;
  readonly cache: "auto" | "bf16" | EightBits;
  readonly keep_weights: boolean;
}

/** What stands for these flags where nobody gave them. */
export const UNGIVEN_WEIGHTS: Readonly<Record<string, string>> = {
  weights: "auto",
  head: "bf16",
  cache: "auto",
};

/** What `--weights` takes, where files are read. */
export const WEIGHTS_FLAG = choiceFlag(["auto", ...WEIGHT_WISHES], {
  default: "auto",
  help: "what the matrices of layers are rounded to: 8 bits and a scale for each row, of half " +
    "the memory, as int8 on a CPU, or as fp8 (e4m3) on a Hopper GPU or a CPU; auto does what --dtype says, and takes 8 bits where files have " +
    "them, which bf16 widens",
});

/** What `--head` takes. */
export const HEAD_FLAG = choiceFlag(WEIGHT_WISHES, {
  default: "bf16",
  help: "the same for the head, which otherwise is as --dtype says",
});

/** What `--cache` takes. */
export const CACHE_FLAG = choiceFlag(["auto", ...WEIGHT_WISHES], {
  default: "auto",
  help:
    "what keys and values are rounded to: 8 bits and a scale for each token and head, of half " +
    "the memory, as int8 or fp8 (e4m3); auto does what --dtype says",
});

/** The flags. */
export const WEIGHT_FLAGS = {
  weights: WEIGHTS_FLAG,
  head: HEAD_FLAG,
  cache: CACHE_FLAG,
  keep_weights: switchFlag({
    machine: true,
    help: "keeps weights that are rounded to 8 bits in a file beside the model: the next time " +
      `they are mapped from there (default: ${LOAD_DEFAULTS.keepWeights ? "yes" : "no"})`,
  }),
} as const;

/** The options of flags. */
export function weightOptionsOf(flags: WeightFlags): WeightOptions {
  const { weights, head, cache, keep_weights: keepWeights } = flags;
  return {
    weights: weights === "auto" ? undefined : weights,
    head: isEightBits(head) ? head : undefined,
    cache: cache === "auto" ? undefined : cache,
    keepWeights,
  };
}

/** Those of some options, as the library takes them. */
export function loadWeightOptions(options: WeightOptions): WeightOptions {
  const { weights, head, cache, keepWeights } = options;
  return { weights, head, cache, keepWeights };
}

/** What binds a folder of results to them; nothing where nothing is asked for. */
export function weightRecord(
  { weights, head, cache }: {
    readonly weights?: string | undefined;
    readonly head?: string | undefined;
    readonly cache?: string | undefined;
  },
): Record<string, string> {
  return {
    ...(weights === undefined ? {} : { weights }),
    ...(head === undefined ? {} : { head }),
    ...(cache === undefined ? {} : { cache }),
  };
}

/** What is computed with, for people: `bf16`, or `bf16, weights int8, cache int8`. */
export function describeDtype(options: WeightWish & { readonly dtype: string }): string {
  const { dtype, weights, head, cache } = options;
  const parts = [
    dtype,
    ...(weights === undefined || weights === dtype ? [] : [`weights ${weights}`]),
    ...(isEightBits(head) ? [`head ${head}`] : []),
    ...(cache === undefined || cache === dtype ? [] : [`cache ${cache}`]),
  ];
  return parts.join(", ");
}
