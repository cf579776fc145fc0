/**
 * `--threshold`: a number or a share for all heads, or a file with one for each layer and head; and
 * `--rest`: what becomes of the tiles that are not selected.
 *
 * @module
 */
import { PLAN_DEFAULTS } from "../../lib/attention/plan.ts";
import { REST_RULES } from "../../lib/attention/rest.ts";
import { readTable, type Threshold, type ThresholdTable } from "../../lib/attention/thresholds.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import { readError } from "../../lib/files.ts";
import { describeValue } from "../../lib/text_file.ts";
import { choiceFlag, DECIMAL, textFlag } from "./flags.ts";

/** A larger file is none of thresholds. */
const MAX_BYTES = 1 << 26;

/** In front of a share that each tile must have by itself. */
export const SHARE_PREFIX = "share:";

/** The flag; `thresholdOf()` reads its value. */
export const THRESHOLD_FLAG = textFlag({
  default: String(PLAN_DEFAULTS.threshold),
  value: "X|share:X|FILE",
  help: "share of a row's antidiagonal mass that the selected tiles must hold, above 0 and at " +
    "most 1; 1 selects every tile (xattn, starx, ringx). share:X selects each tile that holds " +
    "the share X by itself. Or a file with one for each layer and head (docs/selection.md)",
});

/** What becomes of the tiles that are not selected. */
export const REST_FLAG = choiceFlag(REST_RULES, {
  default: PLAN_DEFAULTS.rest,
  help: "tiles that are not selected: 'drop' leaves them out, 'mean' lets one mean key and one " +
    "mean value stand for the 128 of each (xattn, starx, ringx)",
});

/**
 * The threshold that the flag stands for.
 *
 * @throws {UsageError} If it is neither a number, nor a share, nor a file that is there.
 * @throws {FileError} If the file holds no thresholds.
 */
export function thresholdOf(text: string): Threshold {
  if (DECIMAL.test(text)) return Number(text);
  if (!text.startsWith(SHARE_PREFIX)) return readTableFile(text);
  const share = shareOf(text);
  if (share !== undefined) return { share };
  throw new UsageError(
    `--threshold: must have a number behind '${SHARE_PREFIX}': ` +
      `current value is '${text.slice(SHARE_PREFIX.length)}'`,
  );
}

/** The number of `share:X`; undefined if the text is none of these. */
export function shareOf(text: string): number | undefined {
  const share = text.slice(SHARE_PREFIX.length);
  return text.startsWith(SHARE_PREFIX) && DECIMAL.test(share) ? Number(share) : undefined;
}

/**
 * Reads a file of thresholds; it is small, and flags are read before anything else happens.
 *
 * @throws As `thresholdOf()`.
 */
export function readTableFile(path: string): ThresholdTable {
  let text: string;
  try {
    const { isFile, size } = Deno.statSync(path);
    if (!isFile) throw new FileError(`Cannot read ${path}: it is not a file`);
    if (size > MAX_BYTES) {
      throw new FileError(
        `Cannot read ${path} as it may have at most ${MAX_BYTES} bytes: current value is ${size}`,
      );
    }
    text = Deno.readTextFileSync(path);
  } catch (error) {
    // A number that is none is not looked for in vain as a file.
    if (error instanceof Deno.errors.NotFound && !/[/]|\.json$/.test(path)) {
      throw new UsageError(
        `--threshold: must be a number or the file of a table: current value is '${path}'`,
      );
    }
    throw readError(path, error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const what = errorText(error);
    throw new FileError(`Cannot read ${path}: it is not JSON (${what})`, { cause: error });
  }
  const table = readTable(value, ({ key, rule, value }) => {
    // Not in the quotes that options have, which stand for flags.
    const what = key === "" ? "its value" : `"${key}"`;
    if (value === undefined) {
      return new FileError(`Cannot use ${path} as ${what} is missing: it must be ${rule}`);
    }
    return new FileError(
      `Cannot use ${path} as ${what} must be ${rule}: current value is ${describeValue(value)}`,
    );
  });
  return { ...table, file: path };
}
