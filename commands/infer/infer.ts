/**
 * The `infer` command: generates for one's own JSON lines, as `run_star_attn_inference.py` of
 * NVIDIA/Star-Attention does.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import { chooseDevice } from "../../lib/device/open.ts";
import { UsageError } from "../../lib/errors.ts";
import { recoverJsonLines } from "../../lib/jsonl.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigest } from "../../lib/model/digest.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import type { ComputeDType } from "../../lib/model/precision.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { makeFolder } from "../shared/folder.ts";
import {
  type Cleanup,
  type LoadModel,
  ModelSession,
  usableProcesses,
} from "../shared/model_session.ts";
import { predictFile } from "../shared/predict.ts";
import { formatDuration, RunProgress } from "../shared/progress.ts";
import { planOptions, uncheckedOptions } from "../shared/run_options.ts";
import {
  checkSameRun,
  parseRunRecord,
  readRunFile,
  RUN_FILE,
  type RunRecord,
  writeRunFile,
} from "../shared/run_record.ts";
import { FinishedSamples, hasContent, surveySamples } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import { VERSION } from "../shared/version.ts";

/** Options of {@linkcode runInfer}; the defaults are the command line's. */
export interface InferOptions {
  readonly modelPath: string;
  readonly plan: PlanOptions;
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
  readonly processCount: number;
  readonly threads: number;
  /** GPUs of each process that the layers are spread over; by default the fewest that do. */
  readonly gpusPerRank?: number | undefined;
  readonly timeoutMs: number;
  readonly inputPath: string;
  readonly outputPath: string;
  /** Only the first samples; -1 for all. */
  readonly sampleLimit: number;
  readonly tokensToGenerate: number;
  readonly stopWords: readonly string[];
  /** How many logits each record gets; 0 for none. */
  readonly topLogits: number;
}

/** What the command works with. */
export interface CommandContext {
  readonly screen: Screen;
  readonly cleanup: Cleanup;
  /** @default {loadModel} */
  readonly loadModel?: LoadModel;
  /** The command line, the subcommand first. */
  readonly args?: readonly string[];
  /** How many ranks a launcher started, this process being rank 0 of them. */
  readonly launchedRanks?: number;
  /** These ranks, for a command that opens a team of them. */
  readonly group?: RankGroup;
}

const REMEDY = "choose another --output_path, or remove that file";

/**
 * Runs the samples of a file that are not finished.
 *
 * @throws {UsageError} If an option cannot be used, or the output was made with other ones.
 * @throws {FileError} If the model, the input or the output cannot be used.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function runInfer(options: InferOptions, context: CommandContext): Promise<void> {
  const { screen, cleanup } = context;
  const plan = checkPlan(options.plan);
  const { kind: device, note } = await chooseDevice(options.device, options);
  if (note !== undefined) screen.log(note);
  const asked = context.launchedRanks ?? options.processCount;
  const processCount = usableProcesses(plan, asked, { screen });
  await readConfig(options.modelPath);
  const survey = await surveySamples(options.inputPath);
  const record: RunRecord = {
    version: VERSION,
    model: { path: resolve(options.modelPath), sha256: await modelDigest(options.modelPath) },
    options: {
      ...planOptions(plan, { device, dtype: options.dtype, processCount }),
      tokens_to_generate: options.tokensToGenerate,
      stop_words: options.stopWords,
      top_logits: options.topLogits,
    },
    unchecked: uncheckedOptions({ ...options, processCount }),
    data: { input: { sha256: survey.sha256, samples: survey.sampleCount } },
  };
  const finished = await continueOutput(options.outputPath, record);
  const sampleCount = options.sampleLimit > 0
    ? Math.min(options.sampleLimit, survey.sampleCount)
    : survey.sampleCount;
  if (finished.count > 0) {
    screen.log(`${options.outputPath}: ${finished.count} samples are finished, continuing`);
  }
  using tokenizer = await openTokenizerThread(options.modelPath);
  const { modelPath: folder, dtype, threads, gpusPerRank, timeoutMs } = options;
  await using session = new ModelSession({
    folder,
    load: { ...options.plan, device, precision: dtype, threads, gpusPerRank, timeoutMs, tokenizer },
    screen,
    cleanup,
    loadModel: context.loadModel ?? loadModel,
  });
  const startMs = performance.now();
  const runCount = await predictFile(() => session.open({ processCount }), {
    ...options,
    label: "",
    finished,
    progress: new RunProgress(screen, { totalCount: sampleCount }),
  });
  const seconds = (performance.now() - startMs) / 1000;
  screen.log(
    `${options.outputPath}: ${runCount} samples in ${formatDuration(seconds)}` +
      (runCount > 0 ? `, ${(seconds / runCount).toFixed(2)} s each with loading` : ""),
  );
}

/** Checks that the output may be continued, and writes `run.json` beside it. */
async function continueOutput(outputPath: string, record: RunRecord): Promise<FinishedSamples> {
  const folder = dirname(outputPath);
  await makeFolder(folder);
  const path = `${folder}/${RUN_FILE}`;
  const outputs = await readOutputs(path);
  const name = basename(outputPath);
  const before = outputs[name];
  if (await hasContent(outputPath)) {
    if (before === undefined) {
      throw new UsageError(
        `--output_path: must not hold results that ${path} does not describe: current value is ` +
          `${outputPath} (${REMEDY})`,
      );
    }
    checkSameRun(parseRunRecord(before, path), record, { folder: outputPath, remedy: REMEDY });
  }
  await recoverJsonLines(outputPath);
  const finished = await FinishedSamples.read(outputPath);
  await writeRunFile(path, { outputs: { ...outputs, [name]: record } });
  return finished;
}

/** What `run.json` says about the outputs in its folder, by their names. */
async function readOutputs(path: string): Promise<Record<string, unknown>> {
  const file = await readRunFile(path);
  if (file === undefined) return {};
  if (isJsonObject(file.outputs)) return file.outputs;
  throw new UsageError(
    `--output_path: must not lie in a folder whose ${RUN_FILE} belongs to another command: ` +
      `current value is ${dirname(path)}`,
  );
}
