/**
 * A sweep's folder as rows: what each setting came to at each length.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { listFolder } from "../../lib/files.ts";
import { listLengths } from "../../ruler/lengths.ts";
import { meanOverTasks, type MeanScore, meanScore } from "../../ruler/scores.ts";
import { meanOf } from "../results/experiment.ts";
import type { OptionValue, RunRecord } from "../shared/run_record.ts";
import { readSweepFile, SWEEP_FILE } from "./folder.ts";
import { readUnit, type SweepRecord, type Unit } from "./records.ts";
import { exactOf, methodOf, nameOf, type Setting } from "./settings.ts";

/** What a setting came to on one task. */
export interface TaskRow {
  readonly task: string;
  /** Undefined without answers. */
  readonly mean: MeanScore | undefined;
  readonly sampleCount: number;
  readonly density: number;
  readonly seconds: number;
}

/** What a setting came to at a length. */
export interface SweepRow {
  readonly name: string;
  readonly setting: Setting;
  readonly length: number;
  /** As `run.json` would have them. */
  readonly options: Readonly<Record<string, OptionValue>>;
  /** What it is a point of. */
  readonly method: string;
  /** The setting that computes all tiles in its place; its own name if it does so itself. */
  readonly exact: string;
  readonly tasks: readonly TaskRow[];
  readonly sampleCount: number;
  /** Over the tasks. */
  readonly mean: MeanScore | undefined;
  /** Over the samples: share of the whole context's causal tiles that phase 1 computed. */
  readonly density: number;
  /** Over the samples. */
  readonly seconds: number;
  /** Its score less that of `exact`, on the samples that both have; undefined if it is its own. */
  readonly delta: MeanScore | undefined;
}

/** A sweep as it lies on disk. */
export interface Sweep {
  readonly folder: string;
  readonly record: RunRecord;
  /** By length, and then in the order of the settings' names. */
  readonly rows: readonly SweepRow[];
}

/**
 * Reads a sweep. Samples count up to the number that was asked for last.
 *
 * @throws {FileError} If it is none, or a file in it is damaged.
 */
export async function readSweep(folder: string): Promise<Sweep> {
  const record = await readSweepFile(folder);
  if (record === undefined) {
    throw new FileError(`Cannot read the sweep of ${folder} as it has no ${SWEEP_FILE}`);
  }
  const limit = record.unchecked.num_samples_per_task;
  const rows: SweepRow[] = [];
  for (const { name: tokens, maxTokens: length } of await listLengths(folder)) {
    const settings = new Map<string, Map<string, Unit>>();
    for (const name of await settingsIn(`${folder}/${tokens}`)) {
      const units = await readUnits(`${folder}/${tokens}/${name}`, {
        limit: typeof limit === "number" ? limit : Infinity,
      });
      if (units.size > 0) settings.set(name, units);
    }
    for (const [name, units] of settings) rows.push(rowOf(name, { length, units, settings }));
  }
  return { folder, record, rows };
}

/** The folders of settings at a length, by name: `s8` before `s16`. */
async function settingsIn(path: string): Promise<string[]> {
  const entries = await listFolder(path);
  return entries.filter(({ isDirectory, name }) => isDirectory && name !== "data")
    .map(({ name }) => name).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

/** The units of a setting by their tasks, with the samples that count. */
async function readUnits(
  folder: string,
  options: { limit: number },
): Promise<Map<string, Unit>> {
  const units = new Map<string, Unit>();
  const entries = await listFolder(folder);
  const names = entries.map(({ name }) => name).filter((name) => name.endsWith(".jsonl")).sort();
  for (const name of names) {
    const unit = await readUnit(`${folder}/${name}`);
    if (unit === undefined) continue;
    const records = new Map([...unit.records].filter(([number]) => number < options.limit));
    if (records.size > 0) units.set(name.slice(0, -".jsonl".length), { ...unit, records });
  }
  return units;
}

function rowOf(
  name: string,
  place: {
    length: number;
    units: ReadonlyMap<string, Unit>;
    settings: ReadonlyMap<string, ReadonlyMap<string, Unit>>;
  },
): SweepRow {
  const { length, units, settings } = place;
  const [{ header }] = [...units.values()] as [Unit];
  const { setting, options } = header;
  const exact = nameOf(exactOf(setting));
  const tasks = [...units].map(([task, unit]) => taskRow(task, unit));
  const means = tasks.flatMap(({ mean }) => mean ?? []);
  const all = [...units.values()].flatMap(({ records }) => [...records.values()]);
  const base = exact === name ? undefined : settings.get(exact);
  return {
    ...{ name, setting, length, options, exact, tasks },
    method: methodOf(setting),
    sampleCount: all.length,
    mean: means.length === 0 ? undefined : meanOverTasks(means),
    density: meanOf(all.map(({ share }) => share)) ?? 0,
    seconds: meanOf(all.map(({ seconds }) => seconds)) ?? 0,
    delta: base === undefined ? undefined : deltaOf(base, units),
  };
}

function taskRow(task: string, { records }: Unit): TaskRow {
  const all = inOrder(records);
  const scores = all.flatMap(({ score }) => score ?? []);
  return {
    task,
    mean: scores.length === 0 ? undefined : meanScore(scores),
    sampleCount: all.length,
    density: meanOf(all.map(({ share }) => share)) ?? 0,
    seconds: meanOf(all.map(({ seconds }) => seconds)) ?? 0,
  };
}

/** By number: the order in which processes came to them changes nothing. */
function inOrder(records: ReadonlyMap<number, SweepRecord>): SweepRecord[] {
  return [...records.values()].sort((a, b) => a.number - b.number);
}

/** Samples are paired: what makes one hard for both drops out of the error. */
function deltaOf(
  base: ReadonlyMap<string, Unit>,
  other: ReadonlyMap<string, Unit>,
): MeanScore | undefined {
  const means = [...other].flatMap(([task, { records }]) => {
    const before = base.get(task)?.records;
    const differences = inOrder(records).flatMap(({ number, sample, score }) => {
      const earlier = before?.get(number);
      const isPair = earlier?.sample === sample && typeof earlier.score === "number";
      return isPair && score !== null ? [score - (earlier.score ?? 0)] : [];
    });
    return differences.length === 0 ? [] : [meanScore(differences)];
  });
  return means.length === 0 ? undefined : meanOverTasks(means);
}
