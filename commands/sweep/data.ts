/**
 * The data of a sweep: made once for each task and length, by whichever process comes first.
 *
 * @module
 */
import type { DataRecord } from "../shared/run_record.ts";
import { makeFolder } from "../shared/folder.ts";
import { RunLock } from "../shared/run_lock.ts";
import type { SampleSurvey } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import { type DataMaker, findTaskData } from "../ruler/data.ts";
import type { OwnTasks } from "../ruler/tasks_file.ts";
import type { SweepFolder, TaskPlace } from "./folder.ts";
import type { SweepOptions } from "./options.ts";

/** The samples of a task at a length. */
export interface SweepData {
  readonly path: string;
  readonly record: DataRecord;
  readonly survey: SampleSurvey;
}

/** What came of asking for data. */
export type DataAnswer =
  | SweepData
  /** There is none; `reason` says how to get it. */
  | { readonly reason: string }
  /** Another process makes it now. */
  | "busy";

/**
 * Finds or makes the data of a task at a length.
 *
 * @throws {UsageError} If results are made with other data.
 * @throws {FileError} If a file cannot be read or written.
 */
export async function prepareData(
  place: TaskPlace,
  run: {
    options: SweepOptions;
    folder: SweepFolder;
    maker: DataMaker;
    own: OwnTasks;
    screen: Screen;
  },
): Promise<DataAnswer> {
  const { options, folder, maker, own, screen } = run;
  const { length: maxTokens, task } = place;
  const lengthFolder = folder.lengthFolder(maxTokens);
  await makeFolder(`${lengthFolder}/data`);
  await using lock = await RunLock.tryTake(`${lengthFolder}/data/${task}.lock`);
  if (lock === undefined) return "busy";
  await folder.refresh();
  const before = folder.dataOf(place);
  screen.bar(`${task} at ${maxTokens}: preparing data`);
  const { sampleCount, cweFrequencies, generators } = options;
  const found = await findTaskData(maker, {
    ...{ task, maxTokens, sampleCount, cweFrequencies, generators, own, before },
    folder: lengthFolder,
    pregenDir: undefined,
    onSample: (index) =>
      screen.bar(`${task} at ${maxTokens}: preparing sample ${index + 1} of ${sampleCount}`),
  });
  if ("reason" in found) return found;
  if (found.note !== undefined) screen.log(`warning: ${found.note}`);
  const { path, record, survey, isLonger } = found;
  await folder.keepData(place, record, { before: isLonger ? before?.sha256 : undefined });
  return { path, record, survey };
}
