/**
 * A benchmark as the commands see it: what it is made of, and how it is scored. RULER is the first,
 * BABILong the second; a further one is a folder beside theirs and a file here.
 *
 * @module
 */
import type { TaskScore } from "../../ruler/evaluate.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";
import type { OpenDataMaker } from "../ruler/data.ts";

/** What a sample's score depends on. */
export interface ScoredSample {
  /** As it was generated, cut at the stop words. */
  readonly prediction: string;
  readonly answers: readonly string[];
  /** The prompt's query. */
  readonly query: string;
}

/** A benchmark. */
export interface Suite {
  readonly name: string;
  /** What reports call it, and the paper that it comes from. */
  readonly title: string;
  readonly paper?: string;
  /** In the order of its tables. No two suites share a name. */
  readonly tasks: readonly string[];
  /** Its data, prompts and settings. */
  readonly openMaker: OpenDataMaker;
  /** Its metric: what a sample scores, 0 to 1; undefined if its data has no answers. */
  scoreSample(task: string, sample: ScoredSample): number | undefined;
  /** What the metric is called in other programs' files. */
  metricName(task: string): string;
  /**
   * Scores what lies in the folder of a length, and writes its summary there.
   *
   * @param options How many samples count; `print` takes what the original prints.
   * @throws {FileError} If a file cannot be read or written.
   */
  summarize(
    folder: string,
    options: {
      limit: number;
      print: (text: string) => void;
      /** Metrics of tasks of one's own. */
      metrics?: Readonly<Record<string, TaskMetric>>;
    },
  ): Promise<readonly TaskScore[]>;
}
