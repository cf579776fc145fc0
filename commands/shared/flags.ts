/**
 * Flags of the command line: what each takes, and how a list of arguments becomes typed values.
 *
 * Spellings follow `run_ruler.py` and `run_star_attn_inference.py` of NVIDIA/Star-Attention, which
 * have names of two letters behind one dash (`-bs 1024`, `-bs=1024`), flags that take several values
 * (`-l 4096 8192`), and what Python's argparse allows: a long name may be cut short as long as it
 * stands for one flag (`--block 1024`), and of a repeated flag the last one counts. `parseArgs` cuts
 * the arguments apart; these things are added here.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { UsageError } from "../../lib/errors.ts";

/** One flag; its long name is its key in the table. */
export interface Flag<T> {
  /** Its short name with the dash, for example `-bs`; empty without one. */
  readonly short: string;
  /** What stands for its value in help texts; empty for a switch. */
  readonly value: string;
  readonly help: string;
  readonly several: boolean;
  /** Whether it is about the machine and says nothing about what is computed. */
  readonly isMachine: boolean;
  readonly isRequired: boolean;
  /** Its value when it is absent. */
  readonly fallback: T | undefined;
  /** Its value when it is absent in a demonstration. */
  readonly demo: T | undefined;
  /** Reads its values. @throws {UsageError} If they cannot be used. */
  readonly read: (texts: readonly string[], name: string) => T;
}

/** Flags by their long names without dashes. */
export type FlagTable = Readonly<Record<string, Flag<unknown>>>;

/** The values of a table. */
export type FlagValues<T extends FlagTable> = {
  readonly [K in keyof T]: T[K] extends Flag<infer V> ? V : never;
};

/** What describes a flag. One that is neither required nor has a default may be undefined. */
export interface FlagSpec<T> {
  readonly help: string;
  readonly short?: string;
  readonly value?: string;
  readonly required?: boolean;
  readonly default?: T;
  readonly demo?: T;
  /** Set if it is about the machine; a demonstration takes such flags. */
  readonly machine?: boolean;
}

/** The type of a flag's value. */
type ValueOf<T, S> = S extends { default: T } | { required: true } ? T : T | undefined;

/** Limits of a number, both inclusive. */
interface Limits {
  readonly min?: number;
  readonly max?: number;
  /** Whether `4k` stands for 4,096. */
  readonly kilo?: boolean;
}

/** A flag that takes any text but the empty one. */
export function textFlag<const S extends FlagSpec<string>>(
  spec: S,
): Flag<ValueOf<string, S>> {
  return makeFlag(spec, {
    value: "TEXT",
    read: ([text = ""], name) => {
      if (text === "") throw flagError(name, { rule: "must not be empty", text });
      return text as ValueOf<string, S>;
    },
  });
}

/** A flag that takes several texts, none of them empty. */
export function textsFlag<const S extends FlagSpec<readonly string[]>>(
  spec: S,
): Flag<ValueOf<readonly string[], S>> {
  return makeFlag(spec, {
    value: "TEXT...",
    several: true,
    read: (texts, name) => {
      if (texts.includes("")) throw flagError(name, { rule: "must not be empty", text: "" });
      return distinct(texts, name) as ValueOf<readonly string[], S>;
    },
  });
}

/** A flag that takes one of some words. */
export function choiceFlag<const C extends string, const S extends FlagSpec<NoInfer<C>>>(
  choices: readonly C[],
  spec: S,
): Flag<ValueOf<C, S>> {
  return makeFlag(spec, {
    value: choices.join("|"),
    read: ([text = ""], name) => readChoice(text, { choices, name }) as ValueOf<C, S>,
  });
}

/** A flag that takes several words out of some. */
export function choicesFlag<const S extends FlagSpec<readonly string[]>>(
  choices: readonly string[],
  spec: S,
): Flag<ValueOf<readonly string[], S>> {
  return makeFlag(spec, {
    value: "NAME...",
    several: true,
    read: (texts, name) => {
      const words = texts.map((text) => readChoice(text, { choices, name }));
      return distinct(words, name) as ValueOf<readonly string[], S>;
    },
  });
}

/** A flag that takes a whole number. */
export function wholeFlag<const S extends FlagSpec<number> & Limits>(
  spec: S,
): Flag<ValueOf<number, S>> {
  return makeFlag(spec, {
    value: "N",
    read: ([text = ""], name) => readWhole(text, { ...spec, name }) as ValueOf<number, S>,
  });
}

/** A flag that takes several whole numbers; `count` of them, if it is given. */
export function wholesFlag<
  const S extends FlagSpec<readonly number[]> & Limits & { readonly count?: number },
>(spec: S): Flag<ValueOf<readonly number[], S>> {
  const { count } = spec;
  return makeFlag(spec, {
    value: "N...",
    several: true,
    read: (given, name) => {
      const texts = given.flatMap((text) => text.split(","));
      if (count !== undefined && texts.length !== count) {
        throw flagError(name, { rule: `must be ${count} whole numbers`, text: texts.join(" ") });
      }
      const numbers = texts.map((text) => readWhole(text, { ...spec, name }));
      const values = count === undefined ? distinct(numbers, name) : numbers;
      return values as ValueOf<readonly number[], S>;
    },
  });
}

/** What counts as a decimal number. */
export const DECIMAL = /^-?(\d+\.?\d*|\.\d+)(e-?\d{1,3})?$/i;

/** A flag that takes a decimal number. */
export function decimalFlag<const S extends FlagSpec<number>>(spec: S): Flag<ValueOf<number, S>> {
  return makeFlag(spec, {
    value: "X",
    read: ([text = ""], name) => {
      if (!DECIMAL.test(text)) {
        throw flagError(name, { rule: "must be a number", text });
      }
      return Number(text) as ValueOf<number, S>;
    },
  });
}

/** A flag that takes several decimal numbers. */
export function decimalsFlag<const S extends FlagSpec<readonly number[]>>(
  spec: S,
): Flag<ValueOf<readonly number[], S>> {
  return makeFlag(spec, {
    value: "X...",
    several: true,
    read: (given, name) => {
      const texts = given.flatMap((text) => text.split(","));
      const wrong = texts.find((text) => !DECIMAL.test(text));
      if (wrong !== undefined) throw flagError(name, { rule: "must be numbers", text: wrong });
      return distinct(texts.map(Number), name) as ValueOf<readonly number[], S>;
    },
  });
}

/** A flag that takes words, separated by commas or given one by one; empty ones are left out. */
export function wordsFlag<const S extends FlagSpec<readonly string[]>>(
  spec: S,
): Flag<ValueOf<readonly string[], S>> {
  return makeFlag(spec, {
    value: "WORD,...",
    several: true,
    read: (texts) =>
      texts.flatMap((text) => text.split(",")).filter((word) => word !== "") as ValueOf<
        readonly string[],
        S
      >,
  });
}

/** A flag that takes no value. */
export function switchFlag(
  spec: { readonly help: string; readonly machine?: boolean; readonly short?: string },
): Flag<boolean> {
  return { ...makeFlag(spec, { value: "", read: () => true }), fallback: false };
}

function makeFlag<T>(
  spec: FlagSpec<unknown>,
  kind: { value: string; several?: boolean; read: Flag<T>["read"] },
): Flag<T> {
  return {
    short: spec.short ?? "",
    value: spec.value ?? kind.value,
    help: spec.help,
    several: kind.several ?? false,
    isMachine: spec.machine ?? false,
    isRequired: spec.required ?? false,
    // The constructors above bind the two types together.
    fallback: spec.default as T | undefined,
    demo: spec.demo as T | undefined,
    read: kind.read,
  };
}

/** What {@linkcode parseFlags} needs to know beside the table. */
export interface ParseOptions {
  /** The subcommand, for messages. */
  readonly command: string;
  /**
   * Demonstration values stand for absent flags while nothing is given but flags of the machine;
   * with any other flag, this one is required.
   */
  readonly demoUnless?: string;
}

/**
 * Turns arguments into the values of a table.
 *
 * @param table The flags that there are.
 * @param args The arguments behind the subcommand.
 * @returns A value for each flag.
 * @throws {UsageError} If a flag is unknown, cut so short that it may be one of several, required and
 * absent, or has a value that it does not take; the message starts with the flag.
 */
export function parseFlags<T extends FlagTable>(
  table: T,
  args: readonly string[],
  options: ParseOptions,
): FlagValues<T> {
  const given = collectFlags(table, args, options);
  const { demoUnless } = options;
  const isDemo = demoUnless !== undefined &&
    [...given.keys()].every((key) => table[key]?.isMachine);
  const values: Record<string, unknown> = {};
  for (const [key, texts] of given) values[key] = table[key]?.read(texts, `--${key}`);
  const missing: string[] = [];
  for (const [key, flag] of Object.entries(table)) {
    if (given.has(key)) continue;
    const value = isDemo && flag.demo !== undefined ? flag.demo : flag.fallback;
    const isRequired = flag.isRequired || (key === demoUnless && !isDemo);
    if (value === undefined && isRequired) missing.push(`--${key}`);
    values[key] = value;
  }
  const last = missing.pop();
  if (last !== undefined) {
    throw new UsageError(
      missing.length === 0
        ? `${last} is required`
        : `${missing.join(", ")} and ${last} are required`,
    );
  }
  return values as FlagValues<T>;
}

/** The texts that each flag was given. */
function collectFlags(
  table: FlagTable,
  args: readonly string[],
  options: ParseOptions,
): Map<string, string[]> {
  const { tokens } = parseArgs({
    args: expandNames(table, args),
    options: Object.fromEntries(
      Object.entries(table).map(([key, { value }]) => [
        key,
        { type: value === "" ? "boolean" as const : "string" as const },
      ]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  let open: string[] | undefined;
  for (const token of tokens) {
    if (token.kind === "option") {
      const flag = Object.hasOwn(table, token.name) ? table[token.name] : undefined;
      if (flag === undefined || !token.rawName.startsWith("--")) {
        throw new UsageError(
          `${token.rawName}: is not a flag of '${options.command}' (see --help)`,
        );
      }
      const texts = optionTexts(token, flag);
      // Of a repeated flag the last values count.
      given.set(token.name, texts);
      open = flag.several ? texts : undefined;
    } else if (token.kind === "positional" && open !== undefined) {
      open.push(token.value);
    } else {
      const text = token.kind === "positional" ? token.value : "--";
      throw new UsageError(`'${text}': belongs to no flag of '${options.command}' (see --help)`);
    }
  }
  return given;
}

function optionTexts(
  token: { rawName: string; value?: string | undefined; inlineValue?: boolean | undefined },
  flag: Flag<unknown>,
): string[] {
  const { rawName, value, inlineValue } = token;
  if (flag.value === "") {
    if (value !== undefined) throw new UsageError(`${rawName}: takes no value`);
    return [];
  }
  // What follows is another flag, unless it is a negative number.
  const isFlag = inlineValue !== true && value !== undefined && /^-[^\d.]/.test(value);
  if (value === undefined || isFlag) throw new UsageError(`${rawName}: needs a value`);
  return [value];
}

/**
 * Writes short and shortened names out: `-bs=1024` and `--block=1024` become `--block_size=1024`.
 *
 * @param table The flags that there are; `--help` is one of every command.
 * @throws {UsageError} If a shortened name may be one of several; the message names them.
 */
export function expandNames(table: FlagTable, args: readonly string[]): string[] {
  return args.map((arg) => arg.startsWith("--") ? expandLong(arg, table) : expandShort(arg, table));
}

function expandLong(arg: string, table: FlagTable): string {
  const [name = ""] = arg.slice(2).split("=", 1);
  if (name === "" || Object.hasOwn(table, name)) return arg;
  const found = [...Object.keys(table), "help"].filter((key) => key.startsWith(name));
  const [only, other] = found;
  if (only === undefined) return arg;
  if (other === undefined) return `--${only}${arg.slice(2 + name.length)}`;
  const names = found.map((key) => `--${key}`).join(", ");
  throw new UsageError(`--${name}: must be longer, as it may be one of ${names}`);
}

function expandShort(arg: string, table: FlagTable): string {
  if (!/^-[A-Za-z]/.test(arg)) return arg;
  const [name = ""] = arg.split("=", 1);
  const found = Object.entries(table).find(([, { short }]) => short === name);
  // A double dash keeps unknown names whole: parseArgs would read letter by letter.
  return found === undefined ? arg : `--${found[0]}${arg.slice(name.length)}`;
}

function readChoice<C extends string>(
  text: string,
  options: { choices: readonly C[]; name: string },
): C {
  const { choices, name } = options;
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  throw flagError(name, { rule: `must be one of ${choices.join(", ")}`, text });
}

/** Larger numbers cannot be counted with in the C interface. */
const MAX_WHOLE = 2 ** 31 - 1;

function readWhole(text: string, options: Limits & { name: string }): number {
  const { min = 0, max = MAX_WHOLE, name } = options;
  const [, digits, suffix] = /^(-?\d{1,15})(k)?$/i.exec(text) ?? [];
  const isRead = digits !== undefined && (suffix === undefined || options.kilo === true);
  const value = isRead ? Number(digits) * (suffix === undefined ? 1 : 1024) : NaN;
  if (value >= min && value <= max) return value;
  throw flagError(name, { rule: `must be a whole number from ${min} to ${max}`, text });
}

function distinct<V>(values: readonly V[], name: string): readonly V[] {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice === undefined) return values;
  throw flagError(name, { rule: "must not name a value twice", text: String(twice) });
}

function flagError(name: string, fault: { rule: string; text: string }): UsageError {
  return new UsageError(`${name}: ${fault.rule}: current value is '${fault.text}'`);
}
