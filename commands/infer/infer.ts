/**
 * The `infer` command: generates for one's own JSON lines, as `run_star_attn_inference.py` of
 * NVIDIA/Star-Attention does.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { type CheckedPlan, checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import { chooseDevice } from "../../lib/device/open.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { kernelDigest } from "../../lib/ffi/locate.ts";
import { recoverJsonLines } from "../../lib/jsonl.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigest, tokenizerDigest } from "../../lib/model/digest.ts";
import { WeightGuard } from "../../lib/model/weight_guard.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import type { ComputeDType } from "../../lib/model/precision.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { checkTemplateName, chooseTemplate } from "../ruler/template.ts";
import { makeFolder } from "../shared/folder.ts";
import {
  type Cleanup,
  type LoadModel,
  ModelSession,
  usableProcesses,
} from "../shared/model_session.ts";
import { FinishedSamples } from "../shared/output_records.ts";
import { predictFile } from "../shared/predict.ts";
import { formatDuration, RunProgress } from "../shared/progress.ts";
import { RunLock } from "../shared/run_lock.ts";
import { planOptions, uncheckedOptions } from "../shared/run_options.ts";
import {
  checkSameRun,
  parseRunRecord,
  readRunFile,
  RUN_FILE,
  type RunRecord,
  writeRunFile,
} from "../shared/run_record.ts";
import { currentSession } from "../shared/run_session.ts";
import { hasContent, type SampleSurvey, surveySamples } from "../shared/samples.ts";
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
  /** The prompt template that stands around each prompt; undefined for none. */
  readonly template?: string | undefined;
  /** Whether an answer goes on behind the model's end-of-sequence ids. */
  readonly ignoreEos?: boolean | undefined;
  /** Whether weights are read into memory instead of being mapped. */
  readonly copyWeights?: boolean | undefined;
  /** Whether an earlier output is removed first. */
  readonly overwrite?: boolean | undefined;
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
  /** These ranks, for a command that runs on each of them. */
  readonly group?: RankGroup;
}

const TEMPLATE_FLAG = "--prompt_config";
const REMEDY = "choose another --output_path, or give --overwrite";

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
  if (options.template !== undefined) checkTemplateName(options.template, TEMPLATE_FLAG);
  const asked = context.launchedRanks ?? options.processCount;
  const processCount = usableProcesses(plan, asked, { screen });
  const { eosTokenIds } = await readConfig(options.modelPath);
  const guard = await WeightGuard.open(options.modelPath);
  const survey = await surveySamples(options.inputPath);
  if (survey.sampleCount === 0) {
    throw new FileError(`Cannot use ${options.inputPath} as it must hold samples: found none`);
  }
  await makeFolder(dirname(options.outputPath));
  await using _lock = await RunLock.take(`${options.outputPath}.lock`, { what: "--output_path" });
  using tokenizer = await openTokenizerThread(options.modelPath);
  const template = options.template === undefined
    ? undefined
    : await chooseTemplate(options.template, {
      folder: options.modelPath,
      tokenizer,
      flag: TEMPLATE_FLAG,
    });
  const record = await describeRun({ ...options, template: template?.name }, {
    plan,
    device,
    processCount,
    survey,
  });
  const finished = await continueOutput(options, { record, survey });
  const sampleCount = options.sampleLimit > 0
    ? Math.min(options.sampleLimit, survey.sampleCount)
    : survey.sampleCount;
  if (finished.count > 0) {
    screen.log(`${options.outputPath}: ${finished.count} samples are finished, continuing`);
  }
  const { modelPath: folder, dtype, threads, gpusPerRank, timeoutMs, copyWeights } = options;
  await using session = new ModelSession({
    folder,
    load: {
      ...options.plan,
      ...{ device, precision: dtype, threads, gpusPerRank, timeoutMs, tokenizer, copyWeights },
    },
    screen,
    cleanup,
    loadModel: context.loadModel ?? loadModel,
  });
  const startMs = performance.now();
  const checkModel = () => copyWeights === true ? Promise.resolve() : guard.check();
  let isNoted = false;
  const runCount = await predictFile(async () => {
    const model = await session.open({ processCount });
    if (!isNoted) {
      await noteSession(options.outputPath, { record, model, args: context.args ?? [] });
    }
    isNoted = true;
    return model;
  }, {
    ...options,
    ...(template === undefined ? {} : { frame: template }),
    stopWords: [...new Set([...options.stopWords, ...template?.stopWords ?? []])],
    endIds: options.ignoreEos === true ? [] : eosTokenIds,
    ...{ label: "", survey, finished, beforeSample: checkModel, beforeRecord: checkModel },
    progress: new RunProgress(screen, { totalCount: sampleCount }),
  });
  const seconds = (performance.now() - startMs) / 1000;
  screen.log(
    `${options.outputPath}: ${runCount} samples in ${formatDuration(seconds)}` +
      (runCount > 0 ? `, ${(seconds / runCount).toFixed(2)} s each with loading` : ""),
  );
}

/** What decides the records of this run. */
async function describeRun(
  options: InferOptions,
  facts: {
    plan: CheckedPlan;
    device: "cpu" | "cuda";
    processCount: number;
    survey: SampleSurvey;
  },
): Promise<RunRecord> {
  const { plan, device, processCount, survey } = facts;
  const { modelPath } = options;
  return {
    version: VERSION,
    model: {
      path: resolve(modelPath),
      sha256: await modelDigest(modelPath),
      tokenizer: await tokenizerDigest(modelPath),
    },
    kernels: await kernelDigest(device),
    sessions: [],
    options: {
      ...planOptions(plan, { device, dtype: options.dtype, processCount }),
      tokens_to_generate: options.tokensToGenerate,
      stop_words: options.stopWords,
      top_logits: options.topLogits,
      prompt_config: options.template ?? null,
      ignore_eos: options.ignoreEos ?? false,
    },
    unchecked: uncheckedOptions({ ...options, processCount }),
    data: { input: { sha256: survey.sha256, samples: survey.sampleCount } },
  };
}

/** Checks that the output may be continued. Only finished samples bind a run. */
async function continueOutput(
  options: InferOptions,
  run: { record: RunRecord; survey: SampleSurvey },
): Promise<FinishedSamples> {
  const { outputPath, inputPath } = options;
  const path = `${dirname(outputPath)}/${RUN_FILE}`;
  const before = (await readOutputs(path))[basename(outputPath)];
  if (options.overwrite === true && before !== undefined) {
    await Deno.remove(outputPath).catch(ignoreMissing);
  }
  await recoverJsonLines(outputPath);
  if (await hasContent(outputPath)) {
    if (before === undefined) {
      throw new UsageError(
        `--output_path: must not hold results that ${path} does not describe: current value is ` +
          `${outputPath} (choose another one, or remove that file)`,
      );
    }
    const earlier = parseRunRecord(before, path);
    const { prefixSha256 } = await surveySamples(inputPath, {
      prefixCount: earlier.data.input?.samples,
    });
    const isLonger = prefixSha256 === earlier.data.input?.sha256;
    const now = isLonger ? { ...run.record, data: earlier.data } : run.record;
    checkSameRun(earlier, now, { folder: outputPath, remedy: REMEDY });
  }
  return await FinishedSamples.read(outputPath, { survey: run.survey, inputPath });
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** How long another run may hold `run.json`; it does so for some milliseconds. */
const RUN_FILE_TIMEOUT_MS = 10_000;

/** Writes into `run.json`, which several outputs of a folder share, what this one is made with. */
async function noteSession(
  outputPath: string,
  run: { record: RunRecord; model: Model; args: readonly string[] },
): Promise<void> {
  const { record, model, args } = run;
  const path = `${dirname(outputPath)}/${RUN_FILE}`;
  await using _lock = await RunLock.take(`${path}.lock`, {
    what: "--output_path",
    timeoutMs: RUN_FILE_TIMEOUT_MS,
  });
  const outputs = await readOutputs(path);
  const name = basename(outputPath);
  const before = outputs[name];
  const earlier = before !== undefined && await hasContent(outputPath)
    ? parseRunRecord(before, path).sessions ?? []
    : [];
  const session = await currentSession(args, model.deviceDescription);
  const now: RunRecord = { ...record, sessions: [...earlier, session] };
  await writeRunFile(path, { outputs: { ...outputs, [name]: now } });
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
