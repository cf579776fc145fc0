/**
 * `--adopt`: results of NVIDIA/Star-Attention's `run_ruler.py` become an experiment that goes on
 * here, after its commands and its data were found to agree with this run's.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { describeKeep } from "../../lib/attention/decode_keep.ts";
import { mergeOf, modeOf } from "../../lib/attention/plan.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { recoverJsonLines } from "../../lib/jsonl.ts";
import { readTextFile } from "../../lib/text_file.ts";
import { singular } from "../../ruler/niah.ts";
import { TASK_TEMPLATES } from "../../ruler/templates.ts";
import { makeFolder } from "../shared/folder.ts";
import { FinishedSamples } from "../shared/output_records.ts";
import { type DataRecord, RUN_FILE, writeRunFile } from "../shared/run_record.ts";
import { hasContent, readSamples, surveySamples } from "../shared/samples.ts";
import { ALL_TASKS } from "../suites/all.ts";
import { mendLog } from "./log.ts";
import { type RulerRun, runRecord } from "./prepare_length.ts";
import { rulerTask } from "./tasks_file.ts";

/** The scripts that the original leaves for each task. */
const PREDICTIONS = "generate_predictions.sh";
const DATA = "data_generation.sh";
const MAX_BYTES = 2 ** 20;

/** What is adopted, and by which run. */
interface Adoption {
  readonly maxTokens: number;
  readonly run: RulerRun;
}

/**
 * Adopts the results of a length; without results, or with `run.json`, nothing is done.
 *
 * @throws {UsageError} If this run has an option that the original has not, or a result was made
 * with another one; the message names it.
 * @throws {FileError} If a script is missing, or records are not those of the data.
 */
export async function adoptResults(maxTokens: number, run: RulerRun): Promise<void> {
  const adoption: Adoption = { maxTokens, run };
  const folder = `${run.folder}/${maxTokens}`;
  const path = `${folder}/${RUN_FILE}`;
  if (await hasContent(path)) return;
  const tasks: string[] = [];
  for (const task of ALL_TASKS) if (await hasContent(`${folder}/${task}.jsonl`)) tasks.push(task);
  if (tasks.length === 0) return;
  checkRun(run);
  const data: Record<string, DataRecord> = {};
  const counts: Record<string, number> = {};
  let command = "";
  for (const task of tasks) {
    command = await checkScripts(folder, { ...adoption, task });
    const { record, count } = await checkRecords(folder, { ...adoption, task });
    data[task] = record;
    counts[task] = count;
  }
  for (const task of tasks) {
    await mendLog(`${folder}/logs/${task}/samples.jsonl`, { recordCount: counts[task] ?? 0 });
    run.screen.log(`${task} at ${maxTokens}: ${counts[task]} samples are adopted`);
  }
  const fresh = runRecord(maxTokens, run);
  const unchecked = { ...fresh.unchecked, adopted: command };
  await writeRunFile(path, { ...fresh, unchecked, data });
}

/** @throws {UsageError} If the original could not have made such results. */
function checkRun(run: RulerRun): void {
  const refuse = (flag: string, found: string): never => {
    throw new UsageError(
      `--adopt: goes with results of NVIDIA/Star-Attention, which has no ${flag} ${found}`,
    );
  };
  const mode = modeOf(run.plan);
  if (!["dense", "star", "ring"].includes(mode)) refuse("--attn_type", mode);
  if (mode === "star" && mergeOf(run.plan) !== "lse") refuse("--merge", mergeOf(run.plan) ?? "");
  const { decodeKeep } = run.plan;
  if (decodeKeep !== undefined) refuse("--decode_keep", describeKeep(decodeKeep));
  if (run.overwrite === true) {
    throw new UsageError("--adopt: keeps the results that --overwrite removes: take one of both");
  }
  if (run.generators === "2026") refuse("--generators", "2026");
  if (run.stopAtEos === true) refuse("--stop_at_eos", "");
}

/** @returns The command that made the task's predictions. */
async function checkScripts(
  folder: string,
  adoption: Adoption & { task: string },
): Promise<string> {
  const { run, task, maxTokens } = adoption;
  const { plan: { cut }, maker } = run;
  const path = `${folder}/logs/${task}/${PREDICTIONS}`;
  if (!await hasContent(path)) {
    throw new FileError(
      `Cannot adopt ${folder}/${task}.jsonl: ${path} is missing, which says how it was made`,
    );
  }
  const command = (await readTextFile(path, { maxBytes: MAX_BYTES })).trim();
  const { tokensToGenerate, stopWords } = maker.setup(task);
  const blocks = cut.kind !== "blocks" ? {} : {
    "--block_size": String(cut.blockTokens),
    "--anchor_block_size": cut.anchorTokens === cut.blockTokens
      ? ["-1", String(cut.blockTokens)]
      : String(cut.anchorTokens),
  };
  compare(command, path, {
    "--attn_type": modeOf(run.plan),
    ...blocks,
    "--tokens_to_generate": String(tokensToGenerate),
    "--stop_words": stopWords.join(","),
  });
  // The folder may lie on another machine by now; that its files are the same cannot be told.
  const model = basename(flagOf(command, "--model_path") ?? "");
  compare(`--model_path ${model}`, path, { "--model_path": basename(run.modelPath) });
  const dataPath = `${folder}/logs/${task}/${DATA}`;
  if (await hasContent(dataPath)) {
    compare(await readTextFile(dataPath, { maxBytes: MAX_BYTES }), dataPath, {
      "--task": task,
      "--max_seq_length": String(maxTokens),
      "--model_template_type": run.template,
    });
  }
  return command;
}

/** @throws {UsageError} If a flag of a command has none of the expected values. */
function compare(
  command: string,
  path: string,
  expected: Readonly<Record<string, string | readonly string[]>>,
): void {
  for (const [flag, wanted] of Object.entries(expected)) {
    const found = flagOf(command, flag);
    const values = typeof wanted === "string" ? [wanted] : wanted;
    if (found !== undefined && values.includes(found)) continue;
    const shown = found === undefined ? `no ${flag}` : `${flag} ${found}`;
    throw new UsageError(
      `--adopt: cannot continue results that were made with ${shown} (${path}): ` +
        `current value is ${values.at(-1)}`,
    );
  }
}

function flagOf(command: string, flag: string): string | undefined {
  const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, a, b]) => a ?? b ?? "");
  const at = words.lastIndexOf(flag);
  return at < 0 ? undefined : words[at + 1];
}

/** Checks that the records are those of the data's first samples, and the data this template's. */
async function checkRecords(
  folder: string,
  adoption: Adoption & { task: string },
): Promise<{ record: DataRecord; count: number }> {
  const { run, task } = adoption;
  const path = `${folder}/data/${task}/validation.jsonl`;
  if (!await hasContent(path)) {
    const reason = await makeAgain(path, adoption);
    if (reason !== undefined) {
      throw new FileError(`Cannot adopt ${folder}/${task}.jsonl without its data: ${reason}`);
    }
  }
  const { context: text } = TASK_TEMPLATES[rulerTask(task).settings.generator];
  // niah's singular changes the template, too; vt's worked example begins as the task does.
  const before = singular(run.prompt.before);
  const start = singular(text.split("{")[0]?.slice(0, 20) ?? "");
  for await (const sample of readSamples(path)) {
    const context = singular(sample.context);
    const task = context.slice(before.length).trimStart();
    if (context.startsWith(before) && task.startsWith(start)) break;
    throw new UsageError(
      `--adopt: cannot continue results of another --prompt_config (${path}): current value is ` +
        run.template,
    );
  }
  const survey = await surveySamples(path, { needsAnswers: true });
  const outputPath = `${folder}/${task}.jsonl`;
  await recoverJsonLines(outputPath);
  const finished = await FinishedSamples.read(outputPath, { survey, inputPath: path });
  const { sampleCount: samples, sha256 } = survey;
  const cwe = task === "cwe" ? { cwe_freq: run.cweFrequencies ?? [300, 30] } : {};
  return { record: { sha256, samples, ...cwe }, count: finished.count };
}

/** @returns Why the data cannot be made. */
async function makeAgain(
  path: string,
  { run, task, maxTokens }: Adoption & { task: string },
): Promise<string | undefined> {
  await makeFolder(dirname(path));
  const { sampleCount, cweFrequencies } = run;
  const outcome = await run.maker.make({ task, maxTokens, sampleCount, cweFrequencies, path });
  return outcome.isMade ? undefined : outcome.reason;
}
