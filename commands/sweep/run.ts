/**
 * What a sweep works with, and one piece of it: a setting on the samples of a task at a length.
 *
 * @module
 */
import type { CheckedPlan, PlanOptions } from "../../lib/attention/plan.ts";
import { FileError, RequestError } from "../../lib/errors.ts";
import type { Generation, Model } from "../../lib/engine/load_model.ts";
import { type PromptIds, promptIds } from "../../lib/engine/prompt_ids.ts";
import { strip } from "../../ruler/python/text.ts";
import type { DataMaker } from "../ruler/data.ts";
import { scoreOf } from "../ruler/sample_scores.ts";
import type { OwnTasks } from "../ruler/tasks_file.ts";
import { computedShare } from "../shared/computed_share.ts";
import { runInOrder } from "../shared/in_order.ts";
import type { RunProgress } from "../shared/progress.ts";
import type { OptionValue } from "../shared/run_record.ts";
import { type InputSample, readSamples } from "../shared/samples.ts";
import type { SweepData } from "./data.ts";
import type { TaskPlace } from "./folder.ts";
import { type SweepRecord, UnitFile } from "./records.ts";
import type { Setting } from "./settings.ts";

/** A setting at a length. */
export interface PlannedSetting {
  readonly setting: Setting;
  readonly name: string;
  readonly length: number;
  readonly options: PlanOptions;
  readonly plan: CheckedPlan;
  /** The options that change results, by their flags. */
  readonly record: Readonly<Record<string, OptionValue>>;
}

/** How the samples of a unit are run. */
export interface UnitRun {
  readonly maker: DataMaker;
  readonly own: OwnTasks;
  /** Ids that end an answer besides the stop words. */
  readonly endIds: readonly number[];
  readonly progress: RunProgress;
  /** Fails if the model's files are not what they were. */
  readonly checkModel: () => Promise<void>;
  /** The model; loaded when it is first asked for. */
  readonly openModel: () => Promise<Model>;
}

/** A sample with its number in the data, from 0 on. */
interface NumberedSample {
  readonly sample: InputSample;
  readonly number: number;
}

/** Ids of the prompts of a task at a length, which are made once. */
export class PromptIdsKeeper {
  readonly #ids = new Map<string, Promise<PromptIds>>();
  #byteLength = 0;

  /** What they take in memory. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /** The ids of a key: made if nobody has asked for them. */
  get(key: string, make: () => Promise<PromptIds>): Promise<PromptIds> {
    const kept = this.#ids.get(key);
    if (kept !== undefined) return kept;
    const made = make().then((ids) => {
      this.#byteLength += ids.contextIds.byteLength + ids.queryIds.byteLength;
      return ids;
    });
    this.#ids.set(key, made);
    return made;
  }
}

/**
 * The samples of a task at a length, in memory: all settings run the same ones, and their ids are
 * made once.
 */
export class Prompts {
  readonly #data: SweepData;
  #samples: InputSample[] | undefined;
  readonly #cutsQuestion: boolean;
  readonly #ids: PromptIdsKeeper;

  /** @param options `ids`: those that were made of the same data, for another load of the model. */
  constructor(data: SweepData, options: { cutsQuestion: boolean; ids: PromptIdsKeeper }) {
    this.#data = data;
    this.#cutsQuestion = options.cutsQuestion;
    this.#ids = options.ids;
  }

  get data(): SweepData {
    return this.#data;
  }

  /** The first samples. @throws {FileError} If the file is not what it was. */
  async first(count: number): Promise<readonly NumberedSample[]> {
    const { path, survey } = this.#data;
    const options = { survey, cutsQuestion: this.#cutsQuestion };
    this.#samples ??= await Array.fromAsync(readSamples(path, options));
    return this.#samples.slice(0, count).map((sample, number) => ({ sample, number }));
  }

  /** A sample's ids as `generate()` would make them of its texts. */
  async idsOf(
    { sample, number }: NumberedSample,
    run: { model: Model; plan: CheckedPlan; name: string },
  ): Promise<PromptIds> {
    const { model: { tokenizer, config: { vocabularySize } }, plan, name } = run;
    // In mode dense context and query are one text.
    const isOneText = plan.cut.kind === "whole" && plan.selection === undefined;
    const { context, query } = sample;
    return await this.#ids.get(
      `${number} ${isOneText}`,
      () => promptIds({ context, query, sample: name }, { tokenizer, plan, vocabularySize }),
    );
  }
}

/**
 * Runs the samples of a unit that are not finished. Whoever calls holds its lock.
 *
 * @param unit `path`: of its records.
 * @returns How many ran.
 * @throws {UsageError} If its records were made with other options.
 * @throws {FileError} If a file cannot be read or written, or a prompt is too long for the model.
 * @throws {WorkerError} If a process is lost; finished samples are kept.
 */
export async function runUnit(
  unit: TaskPlace & { planned: PlannedSetting; path: string; prompts: Prompts; count: number },
  run: UnitRun,
): Promise<number> {
  const { length, task, planned, prompts, count, path } = unit;
  const { setting, record: options } = planned;
  const { survey } = prompts.data;
  const header = { setting, length, task, options };
  using file = await UnitFile.open(path, { header, survey });
  const label = `${planned.name}, ${task} at ${length}`;
  run.progress.label = label;
  const all = await prompts.first(count);
  const left = all.filter(({ number }) => !file.finished.has(number));
  run.progress.skip(all.length - left.length);
  if (left.length === 0) return 0;
  await run.checkModel();
  const model = await run.openModel();
  const isAlone = model.batchSize === 1;
  let takenMs = performance.now();
  await runInOrder(asynchronous(left), {
    // One more than fit waits in front of the model, so that no place is empty meanwhile.
    width: () => isAlone ? 1 : model.batchSize + 1,
    run: async (numbered, { signal }) =>
      await generate(numbered, { ...{ model, planned, prompts, run, task, signal }, label }),
    take: async ({ sample, number }, generation) => {
      const nowMs = performance.now();
      // Of several at once each takes its share, so that the sum is the time that passed.
      const seconds = isAlone ? generation.seconds : (nowMs - takenMs) / 1000;
      takenMs = nowMs;
      const metric = run.own.get(task)?.metric;
      const record: SweepRecord = {
        number,
        sample: survey.keys[number] ?? "",
        pred: strip(generation.text),
        score: scoreOf(sample, generation, { task, metric }) ?? null,
        seconds,
        share: computedShare(planned.plan, generation),
        contextTokens: generation.contextTokens,
        generatedTokens: generation.ids.length,
      };
      await run.checkModel();
      await file.add(record);
      run.progress.finishSample(`${label} ${number + 1}`);
    },
  });
  return left.length;
}

async function* asynchronous<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function generate(
  numbered: NumberedSample,
  context: {
    model: Model;
    planned: PlannedSetting;
    prompts: Prompts;
    run: UnitRun;
    task: string;
    label: string;
    signal: AbortSignal;
  },
): Promise<Generation> {
  const { model, planned: { plan, options }, prompts, run, task, label, signal } = context;
  const name = `${label} ${numbered.number + 1}`;
  const { tokensToGenerate, stopWords } = run.maker.setup(task);
  try {
    const ids = await prompts.idsOf(numbered, { model, plan, name });
    return await model.generate({ context: ids.contextIds, query: ids.queryIds, sample: name }, {
      ...{ tokensToGenerate, stopWords, signal, plan: options, endIds: run.endIds },
      onProgress: (now) => run.progress.update(now, name),
    });
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new FileError(`${error.message} (${prompts.data.path})`, { cause: error });
  }
}
