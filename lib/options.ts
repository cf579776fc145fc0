/**
 * Checks of what a caller hands in, at run time: JavaScript does not know the types.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

/** What is refused, for messages. */
export interface OptionPlace {
  /** What cannot be done, for example `load the model`. */
  readonly action: string;
  /** The option's name. */
  readonly name: string;
}

/**
 * The error about an option: `Cannot <action> as '<name>' must be <rule>: current value is <value>`,
 * or that it is missing.
 */
export function optionError(
  place: OptionPlace,
  fault: { rule: string; value: unknown },
): UsageError {
  const { action, name } = place;
  const { rule, value } = fault;
  if (value === undefined) {
    return new UsageError(`Cannot ${action} as '${name}' is missing: it must be ${rule}`);
  }
  return new UsageError(
    `Cannot ${action} as '${name}' must be ${rule}: current value is ${describe(value)}`,
  );
}

function describe(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return (JSON.stringify(value) ?? "an object").slice(0, 80);
}

/** Limits of a number, both inclusive. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
}

/** One of some words. @throws {UsageError} If it is none of them. */
export function checkChoice<T extends string>(
  place: OptionPlace,
  options: { value: T; choices: readonly T[] },
): T {
  const { value, choices } = options;
  if (choices.includes(value)) return value;
  throw optionError(place, { rule: `one of ${choices.join(", ")}`, value });
}

/** A whole number of a range. @throws {UsageError} If it is none. */
export function checkWhole(
  place: OptionPlace,
  options: NumberRange & { value: number },
): number {
  const { value, min, max } = options;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw optionError(place, { rule: `a whole number from ${min} to ${max}`, value });
}

/** A number of a range. @throws {UsageError} If it is none. */
export function checkNumber(
  place: OptionPlace,
  options: NumberRange & { value: number },
): number {
  const { value, min, max } = options;
  if (typeof value === "number" && value >= min && value <= max) return value;
  throw optionError(place, { rule: `a number from ${min} to ${max}`, value });
}

/** A text. @throws {UsageError} If it is none. */
export function checkText(place: OptionPlace, value: string): string {
  if (typeof value === "string") return value;
  throw optionError(place, { rule: "a text", value });
}

/** Texts. @throws {UsageError} If it is no array of them. */
export function checkTexts(place: OptionPlace, value: readonly string[]): readonly string[] {
  if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value;
  throw optionError(place, { rule: "an array of texts", value });
}

/** Yes or no. @throws {UsageError} If it is neither. */
export function checkSwitch(place: OptionPlace, options: { value: boolean }): boolean {
  const { value } = options;
  if (typeof value === "boolean") return value;
  throw optionError(place, { rule: "true or false", value });
}

/** Functions that are called back, by their names; those that are absent are none. */
export function checkFunctions(action: string, functions: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(functions)) {
    if (value === undefined || typeof value === "function") continue;
    throw optionError({ action, name }, { rule: "a function", value });
  }
}

/** What ends a call; absent where nothing does. @throws {UsageError} If it is no such signal. */
export function checkSignal(place: OptionPlace, value: AbortSignal | undefined): void {
  if (value === undefined || value instanceof AbortSignal) return;
  throw optionError(place, { rule: "an AbortSignal", value });
}

/** Ids of tokens. @throws {UsageError} If it is no array of them. */
export function checkIds(place: OptionPlace, value: readonly number[]): readonly number[] {
  if (Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0)) return value;
  throw optionError(place, { rule: "an array of whole numbers from 0 on", value });
}

/**
 * Refuses what would be ignored in silence.
 *
 * @param task `name`: what the object is called. @default {"options"}
 * @throws {UsageError} If it is no object, or there is an unknown name.
 */
export function checkNames(
  options: object,
  task: { action: string; known: readonly string[]; name?: string },
): void {
  const { action, known, name = "options" } = task;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw optionError({ action, name }, { rule: "an object", value: options });
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new UsageError(
    `Cannot ${action} as '${unknown}' is none of its options: ${known.join(", ")}`,
  );
}
