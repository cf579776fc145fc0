/**
 * The output file of `infer` and its entry in `run.json`.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import type { CheckedPlan } from "../../lib/attention/plan.ts";
import { UsageError } from "../../lib/errors.ts";
import { kernelDigest } from "../../lib/ffi/locate.ts";
import type { InstructionSet, RowsSetName } from "../../lib/ffi/status.ts";
import { recoverJsonLines } from "../../lib/jsonl.ts";
import { modelDigests } from "../../lib/model/digest.ts";
import type { Model } from "../../lib/engine/load_model.ts";
import { removeFile } from "../../lib/files.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { FinishedSamples } from "../shared/output_records.ts";
import { RunLock } from "../shared/run_lock.ts";
import {
  endRecord,
  planOptions,
  recordedRowsSet,
  uncheckedOptions,
} from "../shared/run_options.ts";
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
import { VERSION } from "../shared/version.ts";
import type { InferOptions } from "./options.ts";

const REMEDY = "choose another --output_path, or give --overwrite";

/** What decides the records of this run. */
export async function describeRun(
  options: InferOptions,
  facts: {
    plan: CheckedPlan;
    device: "cpu" | "cuda";
    rowsSet: RowsSetName;
    forcedSet: InstructionSet | undefined;
    processCount: number;
    survey: SampleSurvey;
    endIds: readonly number[];
  },
): Promise<RunRecord> {
  const { plan, device, rowsSet, forcedSet, processCount, survey, endIds } = facts;
  const { modelPath } = options;
  const digests = await modelDigests(modelPath);
  return {
    version: VERSION,
    model: { path: resolve(modelPath), sha256: digests.model, tokenizer: digests.tokenizer },
    kernels: await kernelDigest(device),
    sessions: [],
    options: {
      ...planOptions(plan, { ...options, device, rowsSet, forcedSet, processCount }),
      tokens_to_generate: options.tokensToGenerate,
      stop_words: options.stopWords,
      top_logits: options.topLogits,
      prompt_config: options.template ?? null,
      ignore_eos: options.ignoreEos ?? false,
      ...endRecord(endIds),
    },
    unchecked: uncheckedOptions({ ...options, processCount }),
    data: { input: { sha256: survey.sha256, samples: survey.sampleCount } },
  };
}

/** What multiplied the rows of the samples that are finished; undefined if there are none that stay. */
export async function finishedRowsSet(
  options: Pick<InferOptions, "outputPath" | "overwrite">,
): Promise<RowsSetName | undefined> {
  const { outputPath, overwrite } = options;
  if (overwrite === true || !await hasContent(outputPath)) return undefined;
  const outputs = await readOutputs(`${dirname(outputPath)}/${RUN_FILE}`);
  return recordedRowsSet(outputs[basename(outputPath)]);
}

/**
 * Checks that the output is a file, or will be one, before anything is written beside it.
 *
 * @throws {UsageError} If it is a folder, a pipe or a device.
 */
export async function checkOutputPath(path: string): Promise<void> {
  const isFile = await Deno.stat(path).then((info) => info.isFile, () => true);
  if (isFile) return;
  throw new UsageError(
    "--output_path: must be a file, whose records a run goes on behind when it was cut off: " +
      `current value is ${path}`,
  );
}

/**
 * Checks that the output may be continued. Only finished samples bind a run.
 *
 * @throws {UsageError} If it was made with other options.
 * @throws {FileError} If it holds records of other samples, or cannot be read or removed.
 */
export async function continueOutput(
  options: InferOptions,
  run: { record: RunRecord; survey: SampleSurvey },
): Promise<FinishedSamples> {
  const { outputPath, inputPath } = options;
  const path = `${dirname(outputPath)}/${RUN_FILE}`;
  const before = (await readOutputs(path))[basename(outputPath)];
  if (options.overwrite === true && before !== undefined) {
    await removeFile(outputPath);
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

/** How long another run may hold `run.json`; it does so for some milliseconds. */
const RUN_FILE_TIMEOUT_MS = 10_000;

/** Writes into `run.json`, which several outputs of a folder share, what this one is made with. */
export async function noteSession(
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
