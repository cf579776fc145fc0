/**
 * The settings of a sweep: what grids of options come to.
 *
 * @module
 */
import { ATTENTION_MODES, type AttentionMode, type PlanOptions } from "../../lib/attention/plan.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../../lib/text_file.ts";
import { shareOf } from "../shared/threshold_flag.ts";
import { AXES, AXIS_GROUPS, type AxisName, type AxisPlace, type AxisValue } from "./axes.ts";

/** A mode with the options that it has. */
export type Setting =
  & { readonly attn_type: AttentionMode }
  & Readonly<Partial<Record<AxisName, AxisValue>>>;

/** Lists of values, of which every combination is a setting. */
export interface Grid extends Readonly<Partial<Record<AxisName, readonly AxisValue[]>>> {
  readonly attn_type: readonly AttentionMode[];
}

/** No file of settings that a person writes has more. */
const MAX_BYTES = 1 << 20;

/** The exact mode that a mode with selection is compared with. */
const EXACT: Readonly<Partial<Record<AttentionMode, AttentionMode>>> = {
  xattn: "dense",
  starx: "star",
  ringx: "ring",
};

/** All combinations; options that a mode does not have are left out. */
export function settingsOf(grid: Grid): Setting[] {
  return grid.attn_type.flatMap((attn_type) => {
    let settings: Setting[] = [{ attn_type }];
    for (const group of AXIS_GROUPS) {
      const parts = partsOf(group, { grid, mode: attn_type });
      settings = settings.flatMap((setting) => parts.map((part) => ({ ...setting, ...part })));
    }
    return settings;
  });
}

/** What one group of options adds to a setting; of no value there is one part, the fallback. */
function partsOf(
  group: typeof AXIS_GROUPS[number],
  run: { grid: Grid; mode: AttentionMode },
): readonly Partial<Record<AxisName, AxisValue>>[] {
  const axes: typeof AXES = group;
  const own = axes.filter(({ applies }) => applies(run.mode));
  const given = own.flatMap(({ name }) =>
    (run.grid[name] ?? []).map((value) => ({ [name]: value }))
  );
  if (given.length > 0) return given;
  const [first] = own;
  return [first?.fallback === undefined ? {} : { [first.name]: first.fallback }];
}

/** The settings of several grids, each once. @throws {UsageError} If two have one name. */
export function allSettings(grids: readonly Grid[]): Setting[] {
  const found = new Map<string, Setting>();
  for (const setting of grids.flatMap(settingsOf)) {
    const name = nameOf(setting);
    const before = found.get(name);
    if (before !== undefined && JSON.stringify(before) !== JSON.stringify(setting)) {
      throw new UsageError(
        `--threshold: files must have names of their own: current value has ${name} twice`,
      );
    }
    found.set(name, setting);
  }
  return [...found.values()];
}

/** A setting's name, for people and folders: `starx_b1of4_s16_t0.5`. */
export function nameOf(setting: Setting): string {
  return [setting.attn_type, ...labelsOf(setting, () => true)].join("_");
}

function labelsOf(setting: Setting, isShown: (name: AxisName) => boolean): string[] {
  return AXES.filter(({ name }) => isShown(name)).flatMap(({ name, label }) => {
    const value = setting[name];
    const text = value === undefined ? "" : label(value);
    return text === "" ? [] : [text];
  });
}

/** Settings of one method differ in how many tiles they take, and are one line of a chart. */
export function methodOf(setting: Setting): string {
  const { threshold, density } = setting;
  const kind = density !== undefined
    ? ["by density"]
    : typeof threshold === "string"
    ? [shareOf(threshold) === undefined ? "tables" : "by share"]
    : threshold !== undefined
    ? ["one threshold"]
    : [];
  const labels = labelsOf(setting, (name) => name !== "threshold" && name !== "density");
  return [setting.attn_type, ...labels, ...kind].join(", ");
}

/**
 * The setting that computes all tiles where this one selects, and reads all keys; the same if it does
 * so itself.
 */
export function exactOf(setting: Setting): Setting {
  const attn_type = EXACT[setting.attn_type] ?? setting.attn_type;
  const exact = AXES.flatMap(({ name, exact }) => exact === undefined ? [] : [[name, exact]]);
  return settingOf(attn_type, { ...setting, ...Object.fromEntries(exact) });
}

/** What of a setting's options a mode has. */
function settingOf(mode: AttentionMode, setting: Setting): Setting {
  const own = AXES.filter(({ name, applies }) => applies(mode) && setting[name] !== undefined)
    .map(({ name }) => [name, setting[name]] as const);
  return { attn_type: mode, ...Object.fromEntries(own) };
}

/** What is to be checked as a plan. */
export function planOf(setting: Setting, place: AxisPlace): PlanOptions {
  return AXES.reduce<PlanOptions>((plan, { name, plan: planOf }) => {
    const value = setting[name];
    return value === undefined ? plan : { ...plan, ...planOf(value, place) };
  }, { mode: setting.attn_type });
}

/** Whoever gave the values, for messages. */
interface Source {
  readonly fail: (name: string, fault: { rule: string; value: unknown }) => Error;
}

/**
 * The grid of the flags.
 *
 * @throws {UsageError} If a value cannot be used; the message names its flag.
 */
export function gridOfFlags(
  flags:
    & { readonly attn_type: readonly AttentionMode[] }
    & Readonly<
      Partial<Record<AxisName, readonly AxisValue[] | undefined>>
    >,
): Grid {
  const fail: Source["fail"] = (name, { rule, value }) =>
    new UsageError(`--${name}: must be ${rule}: current value is '${value}'`);
  return readGrid(flags, { fail });
}

/**
 * The grids of a file: an object, or an array of objects, whose keys are flags and whose values are
 * lists or single values.
 *
 * @throws {FileError} If it cannot be read, or a value cannot be used; the message names file and key.
 */
export async function readGrids(path: string): Promise<Grid[]> {
  const value = await readJsonFile(path, { maxBytes: MAX_BYTES });
  const all: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (all.length === 0) throw new FileError(`Cannot use ${path} as it must hold settings`);
  return all.map((grid, place) => {
    const before = Array.isArray(value) ? `[${place}]` : "";
    const fail: Source["fail"] = (name, { rule, value }) => {
      const key = [before, name].filter((part) => part !== "").join(".");
      return new FileError(
        `Cannot use ${path} as "${key}" must be ${rule}: current value is ${describeValue(value)}`,
      );
    };
    if (!isJsonObject(grid)) throw fail("", { rule: "an object", value: grid });
    const known = ["attn_type", ...AXES.map(({ name }) => name)];
    for (const [name, one] of Object.entries(grid)) {
      if (known.includes(name)) continue;
      throw fail(name, { rule: `absent, as settings have ${known.join(", ")}`, value: one });
    }
    return readGrid(grid, { fail });
  });
}

function readGrid(given: Readonly<Record<string, unknown>>, { fail }: Source): Grid {
  const listOf = (name: string): readonly unknown[] => {
    const value = given[name];
    return value === undefined ? [] : Array.isArray(value) ? value : [value];
  };
  const modes = listOf("attn_type").map((value) => {
    const mode = ATTENTION_MODES.find((mode) => mode === value);
    if (mode === undefined) {
      throw fail("attn_type", { rule: `one of ${ATTENTION_MODES.join(", ")}`, value });
    }
    return mode;
  });
  if (modes.length === 0) throw fail("attn_type", { rule: "a mode", value: given.attn_type });
  const lists = AXES.flatMap(({ name, read, rule, applies }) => {
    const values = listOf(name).map((value) => {
      const isOne = typeof value === "number" || typeof value === "string";
      const found = isOne ? read(value) : undefined;
      if (found === undefined) throw fail(name, { rule, value });
      return found;
    });
    if (values.length > 0 && !modes.some(applies)) {
      throw fail(name, { rule: `absent in ${modes.join(" ")}`, value: values.join(" ") });
    }
    return values.length === 0 ? [] : [[name, values] as const];
  });
  return { attn_type: modes, ...Object.fromEntries(lists) };
}
