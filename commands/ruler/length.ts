/**
 * One length of a RULER run: its predictions and its scores.
 *
 * @module
 */
import { JsonLinesWriter, recoverJsonLines } from "../../lib/jsonl.ts";
import type { Generation, Model } from "../../lib/engine/load_model.ts";
import { replaceFile } from "../../lib/files.ts";
import { meanOf } from "../results/experiment.ts";
import type { EventLog } from "../results/harness.ts";
import { computedShare } from "../shared/computed_share.ts";
import { makeFolder } from "../shared/folder.ts";
import { FinishedSamples } from "../shared/output_records.ts";
import { predictFile, tileCounts } from "../shared/predict.ts";
import { RUN_FILE, type RunRecord, writeRunFile } from "../shared/run_record.ts";
import { currentSession } from "../shared/run_session.ts";
import type { InputSample } from "../shared/samples.ts";
import { depthsOf } from "./depths.ts";
import { MASKS_FILE } from "./masks_file.ts";
import { mendLog, readStatistics } from "./log.ts";
import type { Ledger } from "./ledger.ts";
import {
  type PreparedLength,
  type PreparedTask,
  rankCount,
  type RulerRun,
} from "./prepare_length.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";
import { suiteOf } from "../suites/all.ts";
import { RULER } from "../suites/ruler.ts";
import { writeScripts } from "./scripts.ts";
import { finishedScores, scoreOf } from "./sample_scores.ts";

/** So many samples that all miss are no chance. */
const MISSES = 5;

/**
 * Runs the samples of a length that are not finished, and scores all.
 *
 * @param ledger Takes the scores as they come.
 * @throws {WorkerError} If a worker process is lost; finished samples are kept.
 * @throws {FileError} If a file cannot be read or written, or a prompt is too long.
 */
export async function runLength(
  prepared: PreparedLength,
  context: { run: RulerRun; ledger: Ledger; args: readonly string[]; events: EventLog },
): Promise<void> {
  const { maxTokens, folder, tasks, notes } = prepared;
  const { ledger, run } = context;
  ledger.open(maxTokens, { notes });
  if (tasks.length === 0) return;
  const sessions = new SessionKeeper(prepared, context);
  for (const [place, task] of tasks.entries()) {
    const withMasks = place === 0 && run.plan.selection !== undefined;
    if (context.args.length > 0) await writeScripts(folder, { ...context, ...task, maxTokens });
    await new TaskRun(task, { ...context, prepared, sessions, withMasks }).run();
  }
  const text: string[] = [];
  const [first] = tasks;
  const suite = (first && suiteOf(first.task)) ?? RULER;
  const scores = await suite.summarize(folder, {
    metrics: Object.fromEntries([...run.own].map(([task, { metric }]) => [task, metric])),
    limit: run.sampleCount,
    print: (part) => void text.push(part),
  });
  await replaceFile(`${folder}/logs/evaluate.txt`, text);
  ledger.close(maxTokens, scores.filter(({ task }) => tasks.some((own) => own.task === task)));
}

/** Adds this session to `run.json` when it is about to compute its first sample. */
class SessionKeeper {
  readonly #prepared: PreparedLength;
  readonly #args: readonly string[];
  #isKept = false;

  constructor(prepared: PreparedLength, context: { args: readonly string[] }) {
    this.#prepared = prepared;
    this.#args = context.args;
  }

  async keep(model: Model): Promise<void> {
    if (this.#isKept) return;
    this.#isKept = true;
    const { folder, record } = this.#prepared;
    const session = await currentSession(this.#args, model.deviceDescription);
    const sessions = [...record.sessions ?? [], session];
    const whole: RunRecord = { ...record, sessions };
    await writeRunFile(`${folder}/${RUN_FILE}`, whole);
  }
}

/** One task at one length. */
class TaskRun {
  readonly #task: PreparedTask;
  readonly #run: RulerRun;
  readonly #prepared: PreparedLength;
  readonly #ledger: Ledger;
  readonly #sessions: SessionKeeper;
  readonly #events: EventLog;
  readonly #withMasks: boolean;
  readonly #label: string;
  readonly #logPath: string;
  readonly #outputPath: string;
  #values: number[] = [];
  #isMarked = false;

  constructor(
    task: PreparedTask,
    context: {
      run: RulerRun;
      prepared: PreparedLength;
      ledger: Ledger;
      events: EventLog;
      sessions: SessionKeeper;
      /** Whether the tiles that the first sample selects are kept. */
      withMasks: boolean;
    },
  ) {
    const { folder, maxTokens } = context.prepared;
    this.#task = task;
    this.#run = context.run;
    this.#prepared = context.prepared;
    this.#ledger = context.ledger;
    this.#sessions = context.sessions;
    this.#events = context.events;
    this.#withMasks = context.withMasks;
    this.#label = `${task.task} at ${maxTokens}`;
    this.#logPath = `${folder}/logs/${task.task}/samples.jsonl`;
    this.#outputPath = `${folder}/${task.task}.jsonl`;
  }

  async run(): Promise<void> {
    const { task, path: inputPath, survey, sampleCount } = this.#task;
    const { folder, maxTokens } = this.#prepared;
    const { progress, maker, session, screen } = this.#run;
    await makeFolder(`${folder}/logs/${task}`);
    await recoverJsonLines(this.#outputPath);
    progress.label = this.#label;
    const finished = await FinishedSamples.read(this.#outputPath, { survey, inputPath });
    await this.#mend(finished.count);
    this.#values = await finishedScores(task, {
      path: this.#outputPath,
      limit: finished.countOf(sampleCount),
      metric: this.#metric(),
    });
    this.#showScore();
    using log = await JsonLinesWriter.open(this.#logPath);
    await predictFile(async () => {
      const model = await session.open({ processCount: rankCount(maxTokens, this.#run) });
      await this.#sessions.keep(model);
      return model;
    }, {
      ...{ inputPath, survey, finished, progress, label: this.#label },
      outputPath: this.#outputPath,
      sampleLimit: sampleCount,
      cutsQuestion: this.#run.generators === "2026",
      ...maker.setup(task),
      topLogits: 0,
      endIds: this.#run.endIds,
      ...(this.#withMasks ? { maskedSample: 0 } : {}),
      beforeSample: this.#run.checkModel,
      beforeRecord: this.#run.checkModel,
      onSample: async (sample, generation, number) => {
        await this.#keepMasks(generation, number);
        await log.append(this.#logEntry(sample, generation, number));
        this.#addScore(sample, generation);
        await this.#addEvent(sample, generation, number);
      },
    });
    const statistics = await readStatistics(this.#logPath, { limit: sampleCount });
    const score = this.#ledger.addTask(maxTokens, {
      task,
      values: this.#values,
      statistics,
      isBuiltin: this.#task.record.words === "builtin",
    });
    const { seconds, sampleCount: timed } = statistics;
    const time = timed > 0 ? `, ${(seconds / timed).toFixed(2)} s each` : "";
    screen.log(`${this.#label}: ${sampleCount} samples${time}${score === "" ? "" : `: ${score}`}`);
  }

  /** A run that was killed may have left a record without its line in the log. */
  async #mend(recordCount: number): Promise<void> {
    const missing = await mendLog(this.#logPath, { recordCount });
    if (missing === 0) return;
    this.#run.screen.log(
      `${this.#label}: what ${missing} of ${recordCount} finished samples took is not known, ` +
        "as the run that made them was cut off: averages leave them out",
    );
  }

  #addScore(sample: InputSample, generation: Generation): void {
    const { task, sampleCount } = this.#task;
    const { maxTokens } = this.#prepared;
    const value = scoreOf(sample, generation, { task, metric: this.#metric() });
    if (value === undefined) return;
    this.#values.push(value);
    this.#ledger.update(maxTokens, { task, values: this.#values, expected: sampleCount });
    this.#showScore();
    const isLost = this.#values.length >= MISSES && this.#values.every((value) => value === 0);
    if (!isLost || this.#isMarked || suiteOf(task) === undefined && this.#metric() === undefined) {
      return;
    }
    this.#isMarked = true;
    this.#run.screen.log(
      `warning: ${this.#label}: all ${this.#values.length} samples miss so far: is ` +
        `'--prompt_config ${this.#run.template}' this model's template?`,
    );
  }

  async #addEvent(sample: InputSample, generation: Generation, number: number): Promise<void> {
    const { task } = this.#task;
    await this.#events.add({
      ...{ task, length: this.#prepared.maxTokens, sample: number },
      score: scoreOf(sample, generation, { task, metric: this.#metric() }),
      mean: meanOf(this.#values),
      seconds: generation.seconds,
      generatedTokens: generation.ids.length,
    });
  }

  /** Of a task that no suite has. */
  #metric(): TaskMetric | undefined {
    return this.#run.own.get(this.#task.task)?.metric;
  }

  #showScore(): void {
    this.#run.progress.score = this.#ledger.scoreText(this.#values);
  }

  /** The tiles that a sample selected, for a picture of them. */
  async #keepMasks(generation: Generation, sample: number): Promise<void> {
    const { contextTokens, result: { masks } } = generation;
    if (masks.length === 0) return;
    const { cut } = this.#run.plan;
    const path = this.#logPath.replace(/[^/]*$/, MASKS_FILE);
    await replaceFile(path, [`${JSON.stringify({ sample, contextTokens, cut, masks })}\n`]);
  }

  #logEntry(
    sample: InputSample,
    generation: Generation,
    number: number,
  ): Record<string, unknown> {
    const { contextTokens, queryTokens, seconds, ids, result } = generation;
    const { selected, causal } = tileCounts(generation);
    const { task } = this.#task;
    const metric = this.#metric();
    return {
      sample: number,
      seconds,
      contextTokens,
      queryTokens,
      generatedTokens: ids.length,
      selectedTiles: selected,
      causalTiles: causal,
      share: computedShare(this.#run.plan, generation),
      // Whoever reads the results has no module that could score them.
      ...(typeof metric === "function"
        ? { score: scoreOf(sample, generation, { task, metric }) }
        : {}),
      ...depthsOf(sample),
      ...(result.headShares.length === 0 ? {} : { headShares: roundedShares(result.headShares) }),
      ranks: result.ranks,
    };
  }
}

function roundedShares(shares: readonly (readonly number[])[]): number[][] {
  return shares.map((layer) => layer.map((share) => Number(share.toFixed(4))));
}
