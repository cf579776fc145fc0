/**
 * The `gather` command: shows the scores of all lengths of experiments, side by side.
 *
 * @module
 */
import { basename } from "node:path";
import {
  BABILONG_TASKS,
  gatherBabilong,
  heatMap,
  USUAL_SPLITS,
  USUAL_TASKS,
} from "../../babilong/mod.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { isFile, isFolder, listFolder, replaceFile } from "../../lib/files.ts";
import { gatherExperiment } from "../../ruler/gather.ts";
import { readExperiment } from "../results/experiment.ts";
import { type Format, formatExperiments } from "../results/formats.ts";

/** Options of {@linkcode runGather}; the defaults are the command line's. */
export interface GatherOptions {
  /** Each a folder of results if it holds a `/`, else the name of one below `outputDir`. */
  readonly exps: readonly string[];
  /** The folder of all results. */
  readonly outputDir: string;
  /** `original` prints what `gather_results_ruler.py` of NVIDIA/Star-Attention does. */
  readonly format: Format | "original";
  /** Whether BABILong's heat map is drawn beside its results. @default {false} */
  readonly heatMap?: boolean;
}

/**
 * Prints the scores of experiments.
 *
 * @param options All of them.
 * @param print Takes the text for stdout.
 * @throws {UsageError} If no experiment is named, or several in the original's form.
 * @throws {FileError} If one is no folder of results.
 */
export async function runGather(
  options: GatherOptions,
  print: (text: string) => void,
): Promise<void> {
  const { exps, outputDir, format } = options;
  const folders: string[] = [];
  for (const exp of exps) folders.push(await experimentNamed(exp, outputDir));
  const [first = ""] = folders;
  const isMapped = options.heatMap ?? false;
  const isBabilong = isMapped || format === "original" ? await babilongFile(first) : undefined;
  if (isMapped && (isBabilong === undefined || format !== "original")) {
    throw new UsageError(
      `--heatmap: goes with --format original and results of BABILong: current value is ${first}`,
    );
  }
  if (format !== "original") {
    const experiments = [];
    for (const folder of folders) experiments.push(await readExperiment(folder));
    return print(formatExperiments(experiments, format));
  }
  if (folders.length > 1) {
    throw new UsageError(
      `--exp: must name one experiment with --format original: current value is ${exps.join(" ")}`,
    );
  }
  if (isBabilong !== undefined) print(await gatherBabilongFolder(first, { isMapped }));
  else print(await gatherExperiment(first));
}

/** Prints BABILong's results as the original does, and draws its map where that is asked for. */
async function gatherBabilongFolder(
  folder: string,
  options: { isMapped: boolean },
): Promise<string> {
  const wanted = { tasks: USUAL_TASKS, splits: USUAL_SPLITS };
  const { text, accuracy } = await gatherBabilong(folder, wanted);
  if (!options.isMapped) return text;
  const title = basename(folder);
  const path = `${folder}/${title.toLowerCase().replaceAll(" ", "_")}.svg`;
  await replaceFile(path, [heatMap(accuracy, { ...wanted, title })]);
  return text;
}

/** A task's file of BABILong in an experiment, if it has one. */
async function babilongFile(folder: string): Promise<string | undefined> {
  for (const { name: length } of await listFolder(folder)) {
    if (!/^(\d+|\d+[kM])$/.test(length)) continue;
    for (const task of BABILONG_TASKS) {
      const path = `${folder}/${length}/${task}.jsonl`;
      if (await isFile(path)) return path;
    }
  }
  return undefined;
}

/**
 * The folder of an experiment.
 *
 * @throws {UsageError} If the name is empty.
 * @throws {FileError} If there is no such folder.
 */
export async function experimentNamed(exp: string, outputDir: string): Promise<string> {
  if (exp === "") throw new UsageError("--exp: must name an experiment: current value is ''");
  const below = `${outputDir.replace(/\/$/, "")}/${exp}`;
  const folder = exp.includes("/") || await isFolder(exp) && !(await isFolder(below)) ? exp : below;
  if (await isFolder(folder)) return folder.replace(/(?<=.)\/+$/, "");
  throw new FileError(`Cannot gather results as the experiment must be a folder: ${folder}`);
}
