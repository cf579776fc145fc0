/**
 * The `infer` command: generates for one's own JSON lines, as `run_star_attn_inference.py` of
 * NVIDIA/Star-Attention does.
 *
 * @module
 */
import { announcedDevice } from "../shared/device.ts";
import { loadWeightOptions } from "../shared/weights.ts";
import { dirname } from "node:path";
import { checkPlan } from "../../lib/attention/plan.ts";
import { FileError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { WeightGuard } from "../../lib/model/weight_guard.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import { forcedSet, rowsSetFor } from "../../lib/engine/rows_set.ts";
import { checkPlanTable } from "../../lib/engine/threshold_check.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { checkTemplateName, chooseTemplate } from "../ruler/template.ts";
import { makeFolder } from "../shared/folder.ts";
import {
  type Cleanup,
  type LoadModel,
  ModelSession,
  usableProcesses,
} from "../shared/model_session.ts";
import { checkSelects } from "../shared/run_options.ts";
import { predictFile } from "../shared/predict.ts";
import { formatDuration, RunProgress } from "../shared/progress.ts";
import { RunLock } from "../shared/run_lock.ts";
import { type SampleSurvey, surveySamples } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import type { InferOptions } from "./options.ts";
import {
  checkOutputPath,
  continueOutput,
  describeRun,
  finishedRowsSet,
  noteSession,
} from "./output.ts";

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

const TEMPLATE_FLAG = "--prompt_config";

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
  checkSelects([plan], options);
  if (options.template !== undefined) checkTemplateName(options.template, TEMPLATE_FLAG);
  await checkOutputPath(options.outputPath);
  const asked = context.launchedRanks ?? options.processCount;
  const processCount = usableProcesses(plan, asked, { screen });
  const config = await readConfig(options.modelPath, options);
  const { device, announce } = await announcedDevice(config, options, (line) => screen.log(line));
  await checkPlanTable(plan, { folder: options.modelPath, config });
  const endIds = options.ignoreEos === true ? [] : config.eosTokenIds;
  const guard = await WeightGuard.open(options.modelPath);
  const survey = await surveyInput(options.inputPath);
  await makeFolder(dirname(options.outputPath));
  await using _lock = await RunLock.take(`${options.outputPath}.lock`, { what: "--output_path" });
  using tokenizer = await openTokenizerThread(options.modelPath);
  const { template: name, modelPath: folder } = options;
  const template = name === undefined
    ? undefined
    : await chooseTemplate(name, { folder, tokenizer, flag: TEMPLATE_FLAG });
  const recorded = await finishedRowsSet(options);
  const rowsSet = await rowsSetFor({ device, threads: options.threads, recorded });
  const sets = { rowsSet, forcedSet: await forcedSet(device) };
  const facts = { plan, device, ...sets, processCount, survey, endIds };
  const record = await describeRun({ ...options, template: template?.name }, facts);
  const finished = await continueOutput(options, { record, survey });
  const sampleCount = options.sampleLimit > 0
    ? Math.min(options.sampleLimit, survey.sampleCount)
    : survey.sampleCount;
  if (finished.count > 0) {
    screen.log(`${options.outputPath}: ${finished.count} samples are finished, continuing`);
  }
  const { dtype, threads, gpusPerRank, timeoutMs, startTimeoutMs, copyWeights } = options;
  const { batchSize, replicas, ropeScaling, selectModule } = options;
  await using session = new ModelSession({
    folder,
    load: {
      ...options.plan,
      ...{ device, precision: dtype, threads, rowsSet, gpusPerRank, timeoutMs, startTimeoutMs },
      ...loadWeightOptions(options),
      ...{ tokenizer, copyWeights, batchSize, replicas, ropeScaling, selectModule },
    },
    screen,
    cleanup,
    announce,
    loadModel: context.loadModel ?? loadModel,
  });
  const checkModel = () => copyWeights === true ? Promise.resolve() : guard.check();
  let noted: Promise<void> | undefined;
  const openModel = async (): Promise<Model> => {
    const model = await session.open({ processCount });
    await (noted ??= noteSession(options.outputPath, {
      ...{ record, model, args: context.args ?? [] },
    }));
    return model;
  };
  const startMs = performance.now();
  const runCount = await predictFile(openModel, {
    ...options,
    ...(template === undefined ? {} : { frame: template }),
    stopWords: [...new Set([...options.stopWords, ...template?.stopWords ?? []])],
    endIds,
    ...{ label: "", survey, finished, beforeSample: checkModel, beforeRecord: checkModel },
    progress: new RunProgress(screen, { totalCount: sampleCount }),
  });
  const seconds = (performance.now() - startMs) / 1000;
  screen.log(`${options.outputPath}: ${describeTime(runCount, seconds)}`);
}

async function surveyInput(path: string): Promise<SampleSurvey> {
  const survey = await surveySamples(path);
  if (survey.sampleCount > 0) return survey;
  throw new FileError(`Cannot use ${path} as it must hold samples: found none`);
}

function describeTime(runCount: number, seconds: number): string {
  return `${runCount} samples in ${formatDuration(seconds)}` +
    (runCount > 0 ? `, ${(seconds / runCount).toFixed(2)} s each with loading` : "");
}
