/**
 * The options that the settings of a sweep differ in: how each is read, what it does to a plan, and
 * what it is called in a setting's name. A further option is an entry here.
 *
 * @module
 */
import {
  type AttentionMode,
  hasBlocks,
  PLAN_DEFAULTS,
  type PlanOptions,
  selectsTiles,
} from "../../lib/attention/plan.ts";
import { REST_RULES } from "../../lib/attention/rest.ts";
import type { ThresholdTable } from "../../lib/attention/thresholds.ts";
import { decodeKeepOf } from "../shared/decode_keep_flag.ts";
import { DECIMAL } from "../shared/flags.ts";
import { SHARE_PREFIX, shareOf } from "../shared/threshold_flag.ts";

/** A value of an option, as a flag or a file gives it. */
export type AxisValue = number | string;

/** What a value's meaning depends on. */
export interface AxisPlace {
  /** In tokens. */
  readonly length: number;
  /** The table of a file of thresholds. */
  readonly tableIn: (path: string) => ThresholdTable;
  /** The table that `calibrate`'s curves give for a density. */
  readonly tableOf: (density: number) => ThresholdTable;
}

/** An option that settings differ in. */
export interface Axis {
  /** Its flag, and its key in a file of settings. */
  readonly name: string;
  /** What `applies` to a setting if nothing is given; undefined leaves the option out. */
  readonly fallback?: AxisValue;
  /** The value with which nothing is left out, where there is one. */
  readonly exact?: AxisValue;
  readonly applies: (mode: AttentionMode) => boolean;
  /** What its values must be, for messages. */
  readonly rule: string;
  /** The value of what was given; undefined if it is none. */
  readonly read: (given: AxisValue) => AxisValue | undefined;
  /** What it adds to a setting's name; empty where it says nothing. */
  readonly label: (value: AxisValue) => string;
  readonly plan: (value: AxisValue, place: AxisPlace) => Partial<PlanOptions>;
}

const SHARE = /^(\d{1,4})\/(\d{1,4})$/;
const SIZE_RULE = "a whole number of tokens, or a share of the length such as 1/4";

/** `1024`, `4k`, or `1/4` of the length. */
function readSize(given: AxisValue): AxisValue | undefined {
  const text = String(given);
  const [, digits, suffix] = /^(\d{1,9})(k)?$/i.exec(text) ?? [];
  if (digits !== undefined) return Number(digits) * (suffix === undefined ? 1 : 1024) || undefined;
  const [, part, whole] = SHARE.exec(text) ?? [];
  return Number(part) > 0 && Number(part) <= Number(whole) ? text : undefined;
}

function tokensOf(size: AxisValue, { length }: AxisPlace): number {
  const [, part, whole] = SHARE.exec(String(size)) ?? [];
  return part === undefined ? Number(size) : Math.floor(length * Number(part) / Number(whole));
}

/** `b1024`, or `b1of4`: a folder's name has no slash. */
const sizeLabel = (letter: string) => (value: AxisValue): string =>
  `${letter}${String(value).replace("/", "of")}`;

/** A number in a range. */
function readNumber(
  given: AxisValue,
  isRight: (value: number) => boolean,
): number | undefined {
  const value = typeof given === "number" ? given : DECIMAL.test(given) ? Number(given) : NaN;
  return isRight(value) ? value : undefined;
}

const isShare = (value: number): boolean => value > 0 && value <= 1;

/** A share, or a threshold: whichever takes all is the same. */
function readKeep(given: AxisValue): AxisValue | undefined {
  const text = String(given);
  const value = readNumber(text.replace(/^tau:/, ""), isShare);
  if (value === undefined || value === 1) return value;
  return text.startsWith("tau:") ? `tau:${value}` : value;
}

/** A file's name without what a folder's name should not have. */
function fileLabel(path: string): string {
  const name = path.replace(/^.*\//, "").replace(/\.json$/, "");
  return name.replaceAll(/[{}]/g, "").replaceAll(/[^\w.-]/g, "-");
}

/**
 * All options but the mode, in the order of names and tables. Those of one group stand for one
 * another: a setting has a value of one of them.
 */
export const AXIS_GROUPS = [
  [{
    name: "block_size",
    applies: hasBlocks,
    rule: SIZE_RULE,
    read: readSize,
    label: sizeLabel("b"),
    plan: (value, place) => ({ blockTokens: tokensOf(value, place) }),
  }],
  [{
    name: "anchor_block_size",
    applies: hasBlocks,
    rule: SIZE_RULE,
    read: readSize,
    label: sizeLabel("a"),
    plan: (value, place) => ({ anchorTokens: tokensOf(value, place) }),
  }],
  [{
    name: "stride",
    fallback: PLAN_DEFAULTS.stride,
    applies: selectsTiles,
    rule: "a divisor of 128",
    read: (given) => readNumber(given, (value) => Number.isInteger(value) && 128 % value === 0),
    label: (value) => `s${value}`,
    plan: (value) => ({ stride: Number(value) }),
  }],
  [{
    name: "threshold",
    fallback: PLAN_DEFAULTS.threshold,
    applies: selectsTiles,
    rule: "above 0 and at most 1, share: and such a number, or the file of a table",
    read: (given) => {
      if (typeof given === "number" || DECIMAL.test(given)) return readNumber(given, isShare);
      if (!given.startsWith(SHARE_PREFIX)) return given;
      return isShare(shareOf(given) ?? NaN) ? `${SHARE_PREFIX}${shareOf(given)}` : undefined;
    },
    label: (value) => {
      if (typeof value === "number") return `t${value}`;
      const share = shareOf(value);
      return share === undefined ? `t-${fileLabel(value)}` : `share${share}`;
    },
    plan: (value, { tableIn }) => {
      if (typeof value === "number") return { threshold: value };
      const share = shareOf(value);
      return { threshold: share === undefined ? tableIn(value) : { share } };
    },
  }, {
    name: "density",
    applies: selectsTiles,
    rule: "above 0 and at most 1",
    read: (given) => readNumber(given, isShare),
    label: (value) => `d${value}`,
    plan: (value, { tableOf }) => ({ threshold: tableOf(Number(value)) }),
  }],
  [{
    name: "rest",
    fallback: PLAN_DEFAULTS.rest,
    applies: selectsTiles,
    rule: `one of ${REST_RULES.join(", ")}`,
    read: (given) => REST_RULES.find((rule) => rule === given),
    label: (value) => value === "mean" ? "mean" : "",
    plan: (value) => value === "mean" ? { rest: value } : {},
  }],
  [{
    name: "decode_keep",
    fallback: 1,
    exact: 1,
    applies: (mode) => mode !== "ring" && mode !== "ringx",
    rule: "a share as 0.5 or a threshold as tau:0.9, above 0 and at most 1",
    read: readKeep,
    label: (value) => value === 1 ? "" : `k${String(value).replace(":", "")}`,
    plan: (value) => value === 1 ? {} : { decodeKeep: decodeKeepOf(String(value)) },
  }],
] as const satisfies readonly (readonly Axis[])[];

/** The names of the options. */
export type AxisName = typeof AXIS_GROUPS[number][number]["name"];

/** All of them, one after the other. */
export const AXES: readonly (Axis & { readonly name: AxisName })[] = AXIS_GROUPS.flatMap(
  (group): readonly (Axis & { readonly name: AxisName })[] => group,
);
