/**
 * `--decode_keep`: which keys query and generated tokens read.
 *
 * @module
 */
import type { DecodeKeep } from "../../lib/attention/decode_keep.ts";
import { UsageError } from "../../lib/errors.ts";
import { DECIMAL, textFlag } from "./flags.ts";

/** What a threshold begins with. */
const THRESHOLD = "tau:";

/** The flag; `decodeKeepOf()` reads its value. */
export const DECODE_KEEP_FLAG = textFlag({
  default: "1",
  value: "S|tau:T",
  help:
    "the share of the context's tiles of 128 keys that query and answer read, chosen anew for " +
    "each layer, key head and token by 2 bits of each number of their keys, or with tau:T as many as " +
    "hold the share T of the attention to keys in this form; the others enter by their mean. Above 0 and at most 1, which reads all; " +
    "in star and starx of each block (not in ring and ringx)",
});

/**
 * What the flag stands for; `checkPlan()` has still to look at its range.
 *
 * @throws {UsageError} If it is neither a share nor a threshold.
 */
export function decodeKeepOf(text: string): number | DecodeKeep {
  const number = text.startsWith(THRESHOLD) ? text.slice(THRESHOLD.length) : text;
  if (!DECIMAL.test(number)) {
    throw new UsageError(
      `--decode_keep: must be a share as 0.5 or a threshold as tau:0.9: current value is '${text}'`,
    );
  }
  return number === text ? Number(text) : { threshold: Number(number) };
}
