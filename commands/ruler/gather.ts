/**
 * The `gather` command: prints the scores of all lengths of an experiment, as
 * `ruler/gather_results_ruler.py` of NVIDIA/Star-Attention does.
 *
 * @module
 */
import { FileError, UsageError } from "../../lib/errors.ts";
import { gatherExperiment } from "../../ruler/gather.ts";

/** Options of {@linkcode runGather}; the defaults are the command line's. */
export interface GatherOptions {
  /** A folder of results if it holds a `/`, else the name of one below `outputDir`. */
  readonly exp: string;
  /** The folder of all results. */
  readonly outputDir: string;
}

/**
 * Prints the tables of an experiment.
 *
 * @param options All of them.
 * @param print Takes the text for stdout.
 * @throws {UsageError} If no experiment is named.
 * @throws {FileError} If it is not a folder, or as {@linkcode gatherExperiment}.
 */
export async function runGather(
  options: GatherOptions,
  print: (text: string) => void,
): Promise<void> {
  const { exp, outputDir } = options;
  if (exp === "") throw new UsageError("--exp: must name an experiment: current value is ''");
  const folder = exp.includes("/") ? exp : `${outputDir.replace(/\/$/, "")}/${exp}`;
  if (!(await isFolder(folder))) {
    throw new FileError(`Cannot gather results as the experiment must be a folder: ${folder}`);
  }
  print(await gatherExperiment(folder));
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch {
    return false;
  }
}
