/**
 * The public options of a model: their defaults, and what is checked of them.
 *
 * @module
 */
import { type CheckedPlan, checkPlan, modeOf, PLAN_OPTION_NAMES } from "../attention/plan.ts";
import { type SelectModule, selectModuleOf } from "../attention/select_module.ts";
import { BATCH_RANGE, REPLICA_RANGE } from "./batch_size.ts";
import { DEVICE_WISHES } from "../device/open.ts";
import { ROWS_SETS, type RowsSetName } from "../ffi/status.ts";
import {
  CACHE_KINDS,
  COMPUTE_DTYPES,
  type ComputeDType,
  EIGHT_BITS,
  type Precision,
  precisionOf,
  WEIGHT_KINDS,
  type WeightWish,
  withWeights,
} from "../model/precision.ts";
import type { ModelShape } from "../model/model_shape.ts";
import {
  checkChoice,
  checkFunctions,
  checkIds,
  checkNames,
  checkNumber,
  checkSignal,
  checkSwitch,
  checkText,
  checkTexts,
  checkWhole,
  type NumberRange,
  optionError,
  type OptionPlace,
} from "../options.ts";
import { isJsonObject } from "../text_file.ts";
import type { GenerateOptions, LoadOptions, PhasesOptions, Prompt } from "./model_options.ts";

/** The one home of the engine's defaults; those of a plan are `PLAN_DEFAULTS`. */
export const LOAD_DEFAULTS = {
  device: "auto",
  precision: "bf16",
  processCount: 1,
  threads: 0,
  timeoutMs: 60_000,
  startTimeoutMs: 60_000,
  copyWeights: false,
  keepWeights: false,
  batchSize: 1,
  replicas: 1,
} as const satisfies LoadOptions;

/** The one home of the defaults of generation. */
const GENERATE_DEFAULTS = {
  tokensToGenerate: 128,
  stopWords: [],
  topLogits: 0,
  endIds: [],
} as const satisfies GenerateOptions;

/** What a prompt is called that has no name. */
const UNNAMED = "prompt";

/** Limits of the engine's numbers, for the command line, too. */
export const LOAD_RANGES = {
  processCount: { min: 1, max: 1024 },
  // What the kernel library takes.
  threads: { min: 0, max: 256 },
  gpusPerRank: { min: 1, max: 32 },
  // Larger numbers cannot be counted with in the C interface.
  expectedTokens: { min: 0, max: 2 ** 31 - 1 },
  batchSize: BATCH_RANGE,
  replicas: REPLICA_RANGE,
  // Timers of JavaScript take 2^31 - 1 ms.
  timeoutMs: { min: 100, max: 2_000_000_000 },
  startTimeoutMs: { min: 100, max: 2_000_000_000 },
} as const satisfies Record<string, NumberRange>;

const COUNTS = { min: 1, max: 2 ** 31 - 1 } as const;

const DEVICE_NAMES = [
  ...["device", "precision", "weights", "head", "cache", "threads", "rowsSet"] as const,
  ...["gpusPerRank"] as const,
] as const;
const LOAD_NAMES = [
  ...PLAN_OPTION_NAMES,
  ...DEVICE_NAMES,
  "processCount",
  "selectModule",
  "expectedTokens",
  "timeoutMs",
  "startTimeoutMs",
  "copyWeights",
  "keepWeights",
  "batchSize",
  "replicas",
  "ropeScaling",
  "tokenizer",
  "onWarning",
] as const satisfies readonly (keyof LoadOptions)[];
const PHASES_NAMES = [
  ...PLAN_OPTION_NAMES,
  ...DEVICE_NAMES,
  "processCount",
  "selectModule",
  "timeoutMs",
  "startTimeoutMs",
] as const satisfies readonly (keyof PhasesOptions)[];
const GENERATE_NAMES = [
  "tokensToGenerate",
  "stopWords",
  "topLogits",
  "endIds",
  "plan",
  "withMasks",
  "withCurves",
  "keepContext",
  "onProgress",
  "onIds",
  "signal",
] as const satisfies readonly (keyof GenerateOptions)[];
const PROMPT_NAMES = ["context", "query", "sample"] as const satisfies readonly (keyof Prompt)[];

const PRECISION_PARTS = [
  "activations",
  "weights",
  "cache",
] as const satisfies readonly (keyof Precision)[];

/** What a device is opened with, in full. */
export interface CheckedDevice {
  readonly plan: CheckedPlan;
  readonly device: NonNullable<LoadOptions["device"]>;
  readonly precision: Precision;
  /** What is asked for besides; `withWeights()` joins the two. */
  readonly wish: WeightWish;
  readonly threads: number;
  /** Undefined if it is to be measured. */
  readonly rowsSet: RowsSetName | undefined;
  readonly gpusPerRank: number | undefined;
}

/** Where the ranks are opened, in full. */
export interface CheckedRanks extends CheckedDevice {
  readonly processCount: number;
  /** Absent where nothing of one's own is selected. */
  readonly select: SelectModule | undefined;
  readonly timeoutMs: number;
  readonly startTimeoutMs: number;
}

/** Load options in full. */
export interface CheckedLoad extends CheckedRanks {
  readonly expectedTokens: number | undefined;
  readonly copyWeights: boolean;
  readonly keepWeights: boolean;
  readonly batchSize: number | "auto";
  readonly replicas: number;
  readonly ropeScaling: LoadOptions["ropeScaling"];
}

/**
 * Checks the options of `loadModel()` and fills in their defaults.
 *
 * @throws {UsageError} If an option is unknown or out of its range; the message names it.
 */
export function checkLoadOptions(folder: string, options: LoadOptions): CheckedLoad {
  const action = "load the model";
  checkText({ action, name: "folder" }, folder);
  checkNames(options, { action, known: LOAD_NAMES });
  checkFunctions(action, { onWarning: options.onWarning });
  const { expectedTokens, batchSize = LOAD_DEFAULTS.batchSize } = options;
  return {
    ...checkRanks(options, { action }),
    expectedTokens: expectedTokens === undefined
      ? undefined
      : inRange("expectedTokens", expectedTokens),
    batchSize: batchSize === "auto" ? batchSize : inRange("batchSize", batchSize),
    replicas: inRange("replicas", options.replicas ?? LOAD_DEFAULTS.replicas),
    ropeScaling: checkSection({ action, name: "ropeScaling" }, options.ropeScaling),
    copyWeights: checkSwitch({ action, name: "copyWeights" }, {
      value: options.copyWeights ?? LOAD_DEFAULTS.copyWeights,
    }),
    keepWeights: checkSwitch({ action, name: "keepWeights" }, {
      value: options.keepWeights ?? LOAD_DEFAULTS.keepWeights,
    }),
  };
}

/** What a model's numbers are rounded to, by what was asked for and what its files have. */
export function precisionFor(
  { storedWeights }: Pick<ModelShape, "storedWeights">,
  { precision, wish }: Pick<CheckedDevice, "precision" | "wish">,
): Precision {
  return withWeights(precision, { wish, stored: storedWeights });
}

/**
 * Checks the options of `openPhases()` and fills in their defaults.
 *
 * @throws {UsageError} If an option is unknown or out of its range; the message names it.
 */
export function checkPhasesOptions(folder: string, options: PhasesOptions): CheckedRanks {
  const action = "load the model";
  checkText({ action, name: "folder" }, folder);
  checkNames(options, { action, known: PHASES_NAMES });
  return checkRanks(options, { action });
}

function checkRanks(options: PhasesOptions, task: { action: string }): CheckedRanks {
  const { action } = task;
  const { processCount, timeoutMs, startTimeoutMs } = {
    ...LOAD_DEFAULTS,
    ...withoutUndefined(options),
  };
  const duration = (name: "timeoutMs" | "startTimeoutMs", value: number) =>
    checkNumber({ action, name }, { value, ...LOAD_RANGES[name] });
  const checked = checkDevice(options, task);
  return {
    ...checked,
    processCount: inRange("processCount", processCount),
    select: checkSelect(options, { action, plan: checked.plan }),
    timeoutMs: duration("timeoutMs", timeoutMs),
    startTimeoutMs: duration("startTimeoutMs", startTimeoutMs),
  };
}

/** A mode that computes all tiles would never ask the module. */
function checkSelect(
  { selectModule }: PhasesOptions,
  task: { action: string; plan: CheckedPlan },
): SelectModule | undefined {
  if (selectModule === undefined) return undefined;
  const place = { action: task.action, name: "selectModule" };
  if (task.plan.selection === undefined) {
    throw optionError(place, {
      rule: "absent in a mode that selects no tiles",
      value: modeOf(task.plan),
    });
  }
  return selectModuleOf(place, selectModule);
}

function checkDevice(options: PhasesOptions, task: { action: string }): CheckedDevice {
  const { action } = task;
  const { device, precision, threads, gpusPerRank } = {
    ...LOAD_DEFAULTS,
    ...withoutUndefined(options),
  };
  return {
    plan: checkPlan(options),
    device: checkChoice({ action, name: "device" }, { value: device, choices: DEVICE_WISHES }),
    precision: checkPrecision(precision, { action }),
    wish: checkWish(options, { action }),
    threads: inRange("threads", threads),
    rowsSet: options.rowsSet === undefined
      ? undefined
      : checkChoice({ action, name: "rowsSet" }, { value: options.rowsSet, choices: ROWS_SETS }),
    gpusPerRank: gpusPerRank === undefined ? undefined : inRange("gpusPerRank", gpusPerRank),
  };
}

function checkPrecision(
  precision: ComputeDType | Precision,
  task: { action: string },
): Precision {
  const { action } = task;
  const place = { action, name: "precision" };
  if (typeof precision !== "object" || precision === null) {
    return precisionOf(checkChoice(place, { value: precision, choices: COMPUTE_DTYPES }));
  }
  checkNames(precision, { action, known: [...PRECISION_PARTS, "head"] });
  for (const part of PRECISION_PARTS) {
    const name = `precision.${part}`;
    const choices =
      { activations: COMPUTE_DTYPES, weights: WEIGHT_KINDS, cache: CACHE_KINDS }[part];
    checkChoice<string>({ action, name }, { value: precision[part], choices });
  }
  if (precision.head !== undefined) {
    checkChoice({ action, name: "precision.head" }, { value: precision.head, choices: EIGHT_BITS });
  }
  if (precision.activations === "bf16" && precision.weights === "f32") {
    throw optionError({ action, name: "precision.weights" }, {
      rule: "bf16 where 'precision.activations' is",
      value: precision.weights,
    });
  }
  return precision;
}

/** The kinds of weights, and of keys and values, that can be asked for. */
export const WEIGHT_WISHES = ["bf16", ...EIGHT_BITS] as const;

function checkWish(options: PhasesOptions, task: { action: string }): WeightWish {
  const { action } = task;
  const check = (name: "weights" | "head" | "cache") =>
    options[name] === undefined
      ? undefined
      : checkChoice({ action, name }, { value: options[name], choices: WEIGHT_WISHES });
  return { weights: check("weights"), head: check("head"), cache: check("cache") };
}

function inRange(name: keyof typeof LOAD_RANGES, value: number): number {
  return checkWhole({ action: "load the model", name }, { value, ...LOAD_RANGES[name] });
}

/** What is given, with defaults for the rest. */
export interface CheckedGenerate {
  readonly sample: string;
  readonly tokensToGenerate: number;
  readonly stopWords: readonly string[];
  readonly topLogits: number;
  readonly endIds: readonly number[];
}

/**
 * Checks a prompt and the options of `generate()`, and fills in their defaults.
 *
 * @throws {UsageError} If an option is unknown or out of its range; the message names it.
 */
export function checkGenerateOptions(prompt: Prompt, options: GenerateOptions): CheckedGenerate {
  const action = "generate";
  checkNames(prompt, { action, known: PROMPT_NAMES, name: "prompt" });
  checkNames(options, { action, known: GENERATE_NAMES });
  const { onProgress, onIds, signal } = options;
  checkFunctions(action, { onProgress, onIds });
  checkSignal({ action, name: "signal" }, signal);
  checkPart({ action, name: "context" }, prompt.context);
  checkPart({ action, name: "query" }, prompt.query);
  const { tokensToGenerate, stopWords, topLogits, endIds } = {
    ...GENERATE_DEFAULTS,
    ...withoutUndefined(options),
  };
  return {
    sample: checkText({ action, name: "sample" }, prompt.sample ?? UNNAMED),
    tokensToGenerate: checkWhole({ action, name: "tokensToGenerate" }, {
      value: tokensToGenerate,
      ...COUNTS,
    }),
    stopWords: checkTexts({ action, name: "stopWords" }, stopWords),
    topLogits: checkWhole({ action, name: "topLogits" }, {
      value: topLogits,
      min: 0,
      max: COUNTS.max,
    }),
    endIds: checkIds({ action, name: "endIds" }, endIds),
  };
}

function checkSection(
  place: OptionPlace,
  value: LoadOptions["ropeScaling"],
): LoadOptions["ropeScaling"] {
  if (value === undefined || isJsonObject(value)) return value;
  throw optionError(place, { rule: "an object", value });
}

/** A text, or ids. @throws {UsageError} If it is neither. */
export function checkPart(place: OptionPlace, value: string | Int32Array): string | Int32Array {
  if (typeof value === "string" || value instanceof Int32Array) return value;
  throw optionError(place, { rule: "a text or an Int32Array of ids", value });
}

type Given<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };

/** An option that is there but undefined counts as absent. */
function withoutUndefined<T extends object>(options: T): Given<T> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as Given<T>;
}
