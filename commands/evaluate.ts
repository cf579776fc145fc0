/**
 * The `evaluate` command: scores the predictions of one length, as `ruler/eval/evaluate.py` of
 * NVIDIA/Star-Attention does.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { evaluateFolder, type FolderScores } from "../ruler/evaluate.ts";

/** Options of {@linkcode runEvaluate}; the defaults are the command line's. */
export interface EvaluateOptions {
  /** The folder that holds `<task>.jsonl` files of predictions. */
  readonly dataDir: string;
  /** Must be {@linkcode BENCHMARK}. */
  readonly benchmark: string;
  /** How many samples are printed; 0 prints none. */
  readonly verbose: number;
}

/** The one benchmark that RULER has. */
export const BENCHMARK = "synthetic";

/**
 * Scores a folder, writes its summary and prints what the original prints.
 *
 * @param options All of them.
 * @param print Takes the text for stdout.
 * @returns The scores and the files written.
 * @throws {UsageError} If the benchmark is unknown or `verbose` is no whole number.
 * @throws {FileError} As {@linkcode evaluateFolder}.
 */
export async function runEvaluate(
  options: EvaluateOptions,
  print: (text: string) => void,
): Promise<FolderScores> {
  const { dataDir, benchmark, verbose } = options;
  if (benchmark !== BENCHMARK) {
    throw new UsageError(`--benchmark: must be '${BENCHMARK}': current value is '${benchmark}'`);
  }
  if (!Number.isSafeInteger(verbose)) {
    throw new UsageError(`--verbose: must be a whole number: current value is ${verbose}`);
  }
  if (dataDir === "") throw new UsageError("--data_dir: must name a folder: current value is ''");
  return await evaluateFolder(dataDir, { verbose, print });
}
