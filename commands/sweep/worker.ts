/**
 * One process of a sweep: takes units that nobody has, until none is left to take.
 *
 * @module
 */
import type { Model } from "../../lib/engine/load_model.ts";
import { RunLock } from "../shared/run_lock.ts";
import { currentSession } from "../shared/run_session.ts";
import type { Screen } from "../shared/screen.ts";
import { makeFolder } from "../shared/folder.ts";
import { prepareData } from "./data.ts";
import type { SweepFolder, TaskPlace } from "./folder.ts";
import type { SweepOptions } from "./options.ts";
import { readUnit } from "./records.ts";
import { type PlannedSetting, PromptIdsKeeper, Prompts, runUnit, type UnitRun } from "./run.ts";

/** What ids of prompts may take that wait for another load of the model. */
const KEPT_BYTES = 1 << 28;
/** Between two looks at data that another process makes. */
const BUSY_MS = 200;

/** What a process works with. */
export interface WorkerParts extends Omit<UnitRun, "openModel"> {
  readonly options: SweepOptions;
  /** All of them, of which a shard may be a part. */
  readonly planned: readonly PlannedSetting[];
  readonly folder: SweepFolder;
  readonly screen: Screen;
  /** The command line. */
  readonly args: readonly string[];
}

/** Loads the model when it is needed. */
export interface ModelLoading {
  /** Begins to load it while there is other work. */
  prepare(): void;
  open(): Promise<Model>;
}

/** Where a sweep stands. */
export interface SweepState {
  readonly folder: SweepFolder;
  /** Units, of all processes and shards. */
  readonly unitCount: number;
  readonly finishedCount: number;
  /** Lines about what did not run. */
  readonly notes: readonly string[];
}

/** A setting on one task at one length. */
interface UnitPlace extends TaskPlace {
  readonly planned: PlannedSetting;
}

/** Runs units. */
export class Worker {
  readonly #parts: WorkerParts;
  /** All units, each with its number, by which shards are dealt. */
  readonly #units: readonly UnitPlace[];
  readonly #finished = new Set<UnitPlace>();
  /** Those whose samples the progress has. */
  readonly #counted = new Set<UnitPlace>();
  readonly #missing = new Map<string, string>();
  /** Data that was seen to have as many samples as there are. */
  readonly #prepared = new Set<string>();
  #prompts: (TaskPlace & { readonly prompts: Prompts }) | undefined;
  /** By place, for the next load of the model. */
  readonly #ids = new Map<string, PromptIdsKeeper>();
  #hasSession = false;
  #isExpected = false;

  constructor(parts: WorkerParts) {
    const { planned, options: { tasks, lengths } } = parts;
    this.#parts = parts;
    this.#units = lengths.flatMap((length) =>
      tasks.flatMap((task) =>
        planned.filter((one) => one.length === length)
          .map((one) => ({ length, task, planned: one }))
      )
    );
  }

  /** What there is, and what is finished of it as far as this process has seen. */
  get state(): SweepState {
    const { folder } = this.#parts;
    const notes = [...this.#missing.values()];
    const all = this.#units.filter((unit) => !this.#missing.has(keyOf(unit)));
    return { folder, unitCount: all.length, finishedCount: this.#finished.size, notes };
  }

  /**
   * Runs what can be run of some settings.
   *
   * @throws As `runUnit()` and `prepareData()`.
   */
  async run(planned: readonly PlannedSetting[], loading: ModelLoading): Promise<void> {
    const { progress, options: { shard, sampleCount } } = this.#parts;
    const ofShard = this.#units.filter((_, number) =>
      shard === undefined || number % shard.count === shard.index
    );
    // All of them at once, so that what is left counts the settings of later loads.
    if (!this.#isExpected) progress.expect({ moreCount: ofShard.length * sampleCount });
    this.#isExpected = true;
    const own = ofShard.filter(({ planned: one }) => planned.includes(one));
    for (;;) {
      let [ranCount, busyCount] = [0, 0];
      for (const group of rotated(groupsOf(own))) {
        const left: UnitPlace[] = [];
        for (const unit of group) {
          if (!(await this.#isFinished(unit))) left.push(unit);
          else this.#count(unit, { isRun: false });
        }
        if (left.length === 0) continue;
        const answer = await this.#runGroup(left, loading);
        if (answer === "busy") busyCount++;
        else ranCount += answer;
      }
      // Whoever held a unit may have been lost meanwhile.
      if (ranCount > 0) continue;
      if (busyCount === 0) break;
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    }
    // What other processes have finished meanwhile.
    for (const unit of this.#units) await this.#isFinished(unit);
  }

  /** Whether a unit is finished, or cannot be run. */
  async #isFinished(unit: UnitPlace): Promise<boolean> {
    if (this.#finished.has(unit) || this.#missing.has(keyOf(unit))) return true;
    const { folder, options: { sampleCount } } = this.#parts;
    const found = await readUnit(folder.recordsPath(unit, unit.planned.name));
    if (found === undefined) return false;
    if (folder.dataOf(unit) === undefined) await folder.refresh();
    const samples = folder.dataOf(unit)?.samples ?? 0;
    // Where there are fewer, somebody has first to look whether there could be more.
    const count = this.#prepared.has(keyOf(unit)) ? Math.min(samples, sampleCount) : sampleCount;
    for (let number = 0; number < count; number++) if (!found.records.has(number)) return false;
    this.#finished.add(unit);
    return true;
  }

  /** Counts a finished unit once; what this process runs is counted sample by sample. */
  #count(unit: UnitPlace, options: { isRun: boolean }): void {
    const { progress, options: { sampleCount } } = this.#parts;
    if (!options.isRun && !this.#counted.has(unit)) progress.skip(sampleCount);
    this.#counted.add(unit);
  }

  /** Runs the units of one task at one length. @returns How many were taken. */
  async #runGroup(
    units: readonly UnitPlace[],
    loading: ModelLoading,
  ): Promise<number | "busy"> {
    const [first] = units;
    if (first === undefined) return 0;
    loading.prepare();
    const prompts = await this.#promptsOf(first);
    if (prompts === undefined || prompts === "busy") return prompts ?? 0;
    let count = 0;
    for (const unit of units) if (await this.#take(unit, { prompts, loading })) count++;
    return count;
  }

  /** The samples of a place; undefined if there are none. Those of the last one are kept. */
  async #promptsOf({ length, task }: UnitPlace): Promise<Prompts | "busy" | undefined> {
    const kept = this.#prompts;
    if (kept?.length === length && kept.task === task) return kept.prompts;
    const { options, screen } = this.#parts;
    const answer = await prepareData({ length, task }, this.#parts);
    if (answer === "busy") return answer;
    if ("reason" in answer) {
      const note = `${task} at ${length}: skipped, ${answer.reason}`;
      this.#missing.set(keyOf({ length, task }), note);
      screen.log(note);
      return undefined;
    }
    this.#prepared.add(keyOf({ length, task }));
    const ids = this.#keeperOf(keyOf({ length, task }));
    const prompts = new Prompts(answer, { cutsQuestion: options.generators === "2026", ids });
    this.#prompts = { length, task, prompts };
    return prompts;
  }

  /** The ids of a place, which is about to be run; those of others are kept as far as memory goes. */
  #keeperOf(place: string): PromptIdsKeeper {
    const ids = this.#ids.get(place) ?? new PromptIdsKeeper();
    this.#ids.delete(place);
    let byteLength = 0;
    for (const [other, kept] of this.#ids) {
      byteLength += kept.byteLength;
      if (byteLength > KEPT_BYTES) this.#ids.delete(other);
    }
    this.#ids.set(place, ids);
    return ids;
  }

  /** Runs a unit, unless another process has it. */
  async #take(
    unit: UnitPlace,
    run: { prompts: Prompts; loading: ModelLoading },
  ): Promise<boolean> {
    const { folder, options } = this.#parts;
    const { planned } = unit;
    const path = folder.recordsPath(unit, planned.name);
    await makeFolder(path.replace(/\/[^/]*$/, ""));
    await using lock = await RunLock.tryTake(path.replace(/\.jsonl$/, ".lock"));
    if (lock === undefined) return false;
    const count = Math.min(run.prompts.data.record.samples, options.sampleCount);
    const { prompts } = run;
    await runUnit({ ...unit, path, prompts, count }, {
      ...this.#parts,
      openModel: () => this.#open(run.loading),
    });
    this.#finished.add(unit);
    this.#count(unit, { isRun: true });
    return true;
  }

  /** The model; the first time, this session is noted. */
  async #open(loading: ModelLoading): Promise<Model> {
    const model = await loading.open();
    if (this.#hasSession) return model;
    this.#hasSession = true;
    const { folder, args } = this.#parts;
    await folder.keepSession(await currentSession(args, model.deviceDescription));
    return model;
  }
}

function keyOf({ length, task }: TaskPlace): string {
  return `${task} at ${length}`;
}

/** Units of one task at one length have the same data, which is read once for all of them. */
function groupsOf(units: readonly UnitPlace[]): UnitPlace[][] {
  const groups = new Map<string, UnitPlace[]>();
  for (const unit of units) {
    const key = keyOf(unit);
    groups.set(key, [...groups.get(key) ?? [], unit]);
  }
  return [...groups.values()];
}

/** Processes that are started one after the other begin in different places. */
function rotated<T>(items: readonly T[]): T[] {
  const begin = items.length === 0 ? 0 : Deno.pid % items.length;
  return [...items.slice(begin), ...items.slice(0, begin)];
}
