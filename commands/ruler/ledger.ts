/**
 * The scores of a run as they come, so that what is finished can be shown whatever happens later.
 *
 * @module
 */
import type { TaskScore } from "../../ruler/evaluate.ts";
import type { ReportScore } from "../../ruler/report.ts";
import { formatMean, type MeanScore, meanScore } from "../../ruler/scores.ts";
import { addStatistics, EMPTY_STATISTICS, type Statistics } from "./log.ts";

/** A task's score with what it is made of. */
export interface TaskEntry extends ReportScore {
  readonly mean: MeanScore | undefined;
  /** What each sample scored, 0 to 100. */
  readonly values: readonly number[];
  readonly statistics: Statistics;
  /** Whether its data was made with words that are not RULER's. */
  readonly isBuiltin: boolean;
  /** Set while samples are missing: how many there are to be. */
  readonly expected?: number;
}

/** What a length came to. */
export interface LengthResult {
  readonly maxTokens: number;
  readonly scores: readonly TaskEntry[];
  readonly statistics: Statistics;
  /** Tasks that were made with words that are not RULER's. */
  readonly builtinTasks: readonly string[];
  /** Lines about what did not run. */
  readonly notes: readonly string[];
}

/** Collects scores. */
export class Ledger {
  readonly #lengths = new Map<
    number,
    { notes: readonly string[]; tasks: Map<string, TaskEntry> }
  >();

  /** Begins a length. */
  open(maxTokens: number, options: { notes: readonly string[] }): void {
    this.#lengths.set(maxTokens, { notes: options.notes, tasks: new Map() });
  }

  /** The scores of a task that is under way. */
  update(
    maxTokens: number,
    task: { task: string; values: readonly number[]; expected: number },
  ): void {
    const { values, expected } = task;
    this.#set(maxTokens, {
      ...entryOf(task.task, values),
      ...(values.length < expected ? { expected } : {}),
      statistics: EMPTY_STATISTICS,
      isBuiltin: false,
    });
  }

  /** A finished task. @returns Its score for people; empty without one. */
  addTask(
    maxTokens: number,
    task: {
      task: string;
      values: readonly number[];
      statistics: Statistics;
      isBuiltin: boolean;
    },
  ): string {
    this.#set(maxTokens, { ...task, ...entryOf(task.task, task.values) });
    return this.scoreText(task.values);
  }

  /** Takes the scores as they were written to the length's summary. */
  close(maxTokens: number, scores: readonly TaskScore[]): void {
    const length = this.#lengths.get(maxTokens);
    for (const { task, score, reason, values = [] } of scores) {
      const before = length?.tasks.get(task);
      if (before === undefined) continue;
      const own = values.length > 0 ? entryOf(task, values) : before;
      this.#set(maxTokens, {
        ...before,
        ...own,
        score,
        ...(reason === undefined ? {} : { reason }),
      });
    }
  }

  /** `95.0 ± 2.2`; empty without values. */
  scoreText(values: readonly number[]): string {
    return values.length === 0 ? "" : formatMean(meanScore(values));
  }

  /** What there is, in the order in which it came. */
  results(): LengthResult[] {
    return [...this.#lengths].map(([maxTokens, { notes, tasks }]) => {
      const scores = [...tasks.values()];
      const partial = scores.flatMap(({ task, values, expected }) =>
        expected === undefined
          ? []
          : [`${task} at ${maxTokens}: ${values.length} of ${expected} samples`]
      );
      return {
        maxTokens,
        scores,
        statistics: scores.reduce(
          (sum, { statistics }) => addStatistics(sum, statistics),
          EMPTY_STATISTICS,
        ),
        builtinTasks: scores.filter(({ isBuiltin }) => isBuiltin).map(({ task }) => task),
        notes: [...notes, ...partial],
      };
    });
  }

  #set(maxTokens: number, entry: TaskEntry): void {
    this.#lengths.get(maxTokens)?.tasks.set(entry.task, entry);
  }
}

function entryOf(
  task: string,
  values: readonly number[],
): Pick<TaskEntry, "task" | "score" | "stderr" | "mean" | "values"> {
  if (values.length === 0) return { task, score: undefined, mean: undefined, values };
  const mean = meanScore(values);
  return {
    task,
    score: mean.mean,
    ...(mean.stderr === undefined ? {} : { stderr: mean.stderr }),
    mean,
    values,
  };
}
