/**
 * A sweep's folder: `sweep.json`, which binds it to a model, and where everything lies. Several
 * processes may work in it at once.
 *
 *     sweep.json                        what all results are made with, and the data's digests
 *     <length>/data/<task>/             the samples, which all settings have in common
 *     <length>/<setting>/<task>.jsonl   the records of one setting
 *     sweep.csv, tasks.csv, report.html what they come to
 *
 * @module
 */
import { FileError, invariant } from "../../lib/errors.ts";
import { makeFolder } from "../shared/folder.ts";
import { RunLock } from "../shared/run_lock.ts";
import {
  checkSameRun,
  type DataRecord,
  parseRunRecord,
  readRunFile,
  type RunRecord,
  type RunSession,
  writeRunFile,
} from "../shared/run_record.ts";

/** Tells a sweep's folder from others. */
export const SWEEP_FILE = "sweep.json";
/** What ends a message about results of other options. */
export const REMEDY = "choose another --output_dir";
/** Others hold the lock while they write a small file. */
const LOCK_MS = 60_000;

/** One task at one length. */
export interface TaskPlace {
  readonly length: number;
  readonly task: string;
}

/** What the data of a place is called in `sweep.json`. */
function dataKey({ length, task }: TaskPlace): string {
  return `${task} at ${length}`;
}

/** The folder while a process works in it. */
export class SweepFolder {
  readonly path: string;
  readonly #fresh: RunRecord;
  #record: RunRecord;

  private constructor(path: string, record: RunRecord, fresh: RunRecord) {
    this.path = path;
    this.#record = record;
    this.#fresh = fresh;
  }

  /**
   * Opens a folder, or begins it.
   *
   * @param fresh What results would be made with now.
   * @throws {UsageError} If its results are made with another model or other options.
   * @throws {FileError} If it cannot be read or written.
   */
  static async open(path: string, fresh: RunRecord): Promise<SweepFolder> {
    await makeFolder(path);
    const folder = new SweepFolder(path, fresh, fresh);
    await folder.#update((before) => {
      if (before === undefined) return fresh;
      checkSameRun(before, { ...fresh, data: {} }, { folder: path, remedy: REMEDY });
      return { ...before, unchecked: fresh.unchecked };
    });
    return folder;
  }

  /** What is known of the data of a task at a length, as of the last look. */
  dataOf(place: TaskPlace): DataRecord | undefined {
    return this.#record.data[dataKey(place)];
  }

  /** Looks again at what other processes have added. @throws {FileError} If it cannot be read. */
  async refresh(): Promise<void> {
    const record = await readSweepFile(this.path);
    if (record === undefined) {
      throw new FileError(`Cannot go on in ${this.path} as ${SWEEP_FILE} was removed`);
    }
    this.#record = record;
  }

  /**
   * Keeps what the data of a place is.
   *
   * @param options `before`: the digest that counts as the same, of data that is longer now.
   * @throws {UsageError} If there is other data already.
   */
  async keepData(
    place: TaskPlace,
    record: DataRecord,
    options: { before?: string | undefined } = {},
  ): Promise<void> {
    const key = dataKey(place);
    await this.#update((now) => {
      invariant(now !== undefined, "a sweep that is open has its file");
      const sha256 = options.before ?? record.sha256;
      const data = { [key]: { ...record, sha256 } };
      checkSameRun(now, { ...this.#fresh, data }, { folder: this.path, remedy: REMEDY });
      return { ...now, data: { ...now.data, [key]: record } };
    });
  }

  /** Adds a session that is about to compute. */
  async keepSession(session: RunSession): Promise<void> {
    await this.#update((now) => {
      invariant(now !== undefined, "a sweep that is open has its file");
      return { ...now, sessions: [...now.sessions ?? [], session] };
    });
  }

  /** The folder of a length, which holds its data. */
  lengthFolder(length: number): string {
    return `${this.path}/${length}`;
  }

  /** The records of a setting. */
  recordsPath({ length, task }: TaskPlace, setting: string): string {
    return `${this.lengthFolder(length)}/${setting}/${task}.jsonl`;
  }

  /** Reads, changes and writes the file while no other process does. */
  async #update(change: (now: RunRecord | undefined) => RunRecord): Promise<void> {
    await using _lock = await RunLock.take(`${this.path}/${SWEEP_FILE}.lock`, {
      what: "--output_dir",
      timeoutMs: LOCK_MS,
    });
    const now = await readSweepFile(this.path);
    const next = change(now);
    if (JSON.stringify(now) !== JSON.stringify(next)) {
      await writeRunFile(`${this.path}/${SWEEP_FILE}`, next);
    }
    this.#record = next;
  }
}

/** What a folder's `sweep.json` says; undefined if it has none. @throws {FileError} If it is damaged. */
export async function readSweepFile(folder: string): Promise<RunRecord | undefined> {
  const path = `${folder}/${SWEEP_FILE}`;
  const value = await readRunFile(path);
  return value === undefined ? undefined : parseRunRecord(value, path);
}
