/**
 * Runs the samples of one file and appends their records, each on disk when its sample is done.
 *
 * @module
 */
import { FileError, invariant, RequestError } from "../../lib/errors.ts";
import { JsonLinesWriter } from "../../lib/jsonl.ts";
import type { Generation, Model } from "../../lib/engine/load_model.ts";
import { dumpJsonText, type JsonValue } from "../../ruler/python/json_text.ts";
import type { RunProgress } from "./progress.ts";
import { type FinishedSamples, outputRecord } from "./output_records.ts";
import { type InputSample, readSamples, type SampleSurvey } from "./samples.ts";

/** How to run a file. */
export interface PredictOptions {
  readonly inputPath: string;
  readonly outputPath: string;
  /** What the input file held when it was checked: it must still hold that. */
  readonly survey: SampleSurvey;
  /** Names the file in messages, in front of the sample's number; may be empty. */
  readonly label: string;
  /** Only the first samples of the file; -1 for all. */
  readonly sampleLimit: number;
  readonly finished: FinishedSamples;
  readonly tokensToGenerate: number;
  readonly stopWords: readonly string[];
  /** Ids that end an answer and do not belong to its text. */
  readonly endIds?: readonly number[];
  /** What stands around each prompt; the records hold the prompts without it. */
  readonly frame?: { readonly before: string; readonly after: string };
  readonly topLogits: number;
  readonly progress: RunProgress;
  /** Called before each sample that is to run. @throws {FileError} If it must not run. */
  readonly beforeSample?: () => Promise<void>;
  /** Called before a record is written: what was computed must still be what was to be. */
  readonly beforeRecord?: () => Promise<void>;
  /** Called behind each sample, when its record is on disk. `number` counts samples from 0 on. */
  readonly onSample?: (
    sample: InputSample,
    generation: Generation,
    number: number,
  ) => Promise<void>;
}

/**
 * Runs all samples that are not finished.
 *
 * @param openModel Called before the first one.
 * @returns How many ran.
 * @throws {FileError} If a file cannot be read or written, or a prompt is too long for the model.
 * @throws {WorkerError} If a worker process is lost; finished samples are kept.
 */
export async function predictFile(
  openModel: () => Promise<Model>,
  options: PredictOptions,
): Promise<number> {
  const { inputPath, outputPath, sampleLimit, finished, progress } = options;
  using writer = await JsonLinesWriter.open(outputPath, {
    format: (record) => {
      invariant(record instanceof Map, "records are maps");
      return dumpJsonText(record as JsonValue);
    },
  });
  let number = 0;
  let runCount = 0;
  for await (const sample of readSamples(inputPath, options)) {
    if (sampleLimit > 0 && number >= sampleLimit) break;
    number++;
    if (finished.has(number - 1)) {
      progress.skip(1);
      continue;
    }
    await options.beforeSample?.();
    const name = `${options.label} ${number}`.trim();
    const generation = await generate(await openModel(), { sample, name, options });
    await options.beforeRecord?.();
    await writer.append(outputRecord(sample, generation, { withLogits: options.topLogits > 0 }));
    await options.onSample?.(sample, generation, number - 1);
    progress.finishSample();
    runCount++;
  }
  return runCount;
}

async function generate(
  model: Model,
  run: { sample: InputSample; name: string; options: PredictOptions },
): Promise<Generation> {
  const { sample, name, options } = run;
  const { tokensToGenerate, stopWords, topLogits, progress, endIds } = options;
  const { before = "", after = "" } = options.frame ?? {};
  const prompt = { context: before + sample.context, query: sample.query + after, sample: name };
  try {
    return await model.generate(prompt, {
      tokensToGenerate,
      stopWords,
      topLogits,
      ...(endIds === undefined ? {} : { endIds }),
      onProgress: (now) => progress.update(now),
    });
  } catch (error) {
    // The sample itself cannot be run: its file is at fault.
    if (!(error instanceof RequestError)) throw error;
    throw new FileError(`${error.message} (${options.inputPath})`, { cause: error });
  }
}

/** Query-key blocks of phase 1 that were computed, and those that dense attention computes. */
export function blockCounts(generation: Generation): { taken: number; causal: number } {
  let taken = 0;
  let causal = 0;
  for (const [some, all] of generation.result.selectedBlocks) {
    taken += some;
    causal += all;
  }
  return { taken, causal };
}
