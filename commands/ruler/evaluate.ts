/**
 * The `evaluate` command: scores the predictions of one length, as `ruler/eval/evaluate.py` of
 * NVIDIA/Star-Attention does.
 *
 * @module
 */
import type { Generators } from "../../ruler/model.ts";
import { readTasksFile } from "./tasks_file.ts";
import { UsageError } from "../../lib/errors.ts";
import { evaluateFolder, type FolderScores } from "../../ruler/evaluate.ts";
import type { TaskMetric } from "../../ruler/metrics.ts";

/** Options of {@linkcode runEvaluate}; the defaults are the command line's. */
export interface EvaluateOptions {
  /** The folder that holds `<task>.jsonl` files of predictions. */
  readonly dataDir: string;
  /** Must be {@linkcode BENCHMARK}. */
  readonly benchmark: string;
  /** Given by the user; has no effect. */
  readonly verbose: number | undefined;
  /** The width of the terminal that is printed to; `undefined` without one. */
  readonly terminalColumns: number | undefined;
  /** For every file of the folder, in place of the tasks' own. */
  readonly metric?: TaskMetric | undefined;
  /** Holds tasks beside RULER's. */
  readonly tasksFile?: string | undefined;
  /** Whose arguments that file has. @default {"pinned"} */
  readonly generators?: Generators | undefined;
}

/** The one benchmark that RULER has. */
const BENCHMARK = "synthetic";

/**
 * Scores a folder, writes its summary and prints what the original prints.
 *
 * @param options All of them.
 * @param output `print` takes the text for stdout; `log` a line about what the user should know.
 * @returns The scores and the files written.
 * @throws {UsageError} If the benchmark is unknown.
 * @throws {FileError} As {@linkcode evaluateFolder}.
 */
export async function runEvaluate(
  options: EvaluateOptions,
  output: { print: (text: string) => void; log: (line: string) => void },
): Promise<FolderScores> {
  const { dataDir, benchmark, verbose, terminalColumns, metric } = options;
  if (benchmark !== BENCHMARK) {
    throw new UsageError(`--benchmark: must be '${BENCHMARK}': current value is '${benchmark}'`);
  }
  if (dataDir === "") throw new UsageError("--data_dir: must name a folder: current value is ''");
  if (verbose !== undefined) {
    // The original reads the flag and does not pass it on.
    output.log("warning: --verbose has no effect, as in the original");
  }
  const own = await readTasksFile(options.tasksFile, options);
  const metrics = Object.fromEntries([...own].map(([task, { metric }]) => [task, metric]));
  return await evaluateFolder(dataDir, { print: output.print, terminalColumns, metric, metrics });
}
