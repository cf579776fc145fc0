/**
 * Runs the samples of one file, as many at once as the model's batch has places, and appends their
 * records in the order of the file, each on disk when its sample and those before it are done.
 *
 * @module
 */
import { FileError, invariant, RequestError } from "../../lib/errors.ts";
import { JsonLinesWriter } from "../../lib/jsonl.ts";
import type { Generation, Model } from "../../lib/engine/load_model.ts";
import { dumpJsonText, type JsonValue } from "../../ruler/python/json_text.ts";
import { runInOrder } from "./in_order.ts";
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
  /** See `SampleRules`. @default {false} */
  readonly cutsQuestion?: boolean;
  /** What stands around each prompt; the records hold the prompts without it. */
  readonly frame?: { readonly before: string; readonly after: string };
  readonly topLogits: number;
  /** The sample whose selected tiles are returned, counted from 0 on. */
  readonly maskedSample?: number;
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
 * Runs all samples that are not finished. What is killed on the way loses the samples in flight.
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
  let model: Model | undefined;
  let runCount = 0;
  let takenMs = performance.now();
  async function* waiting(): AsyncGenerator<NumberedSample> {
    let number = 0;
    for await (const sample of readSamples(inputPath, options)) {
      if (sampleLimit > 0 && number >= sampleLimit) return;
      number++;
      if (finished.has(number - 1)) {
        progress.skip(1);
        continue;
      }
      await options.beforeSample?.();
      model = await openModel();
      yield { sample, number, name: `${options.label} ${number}`.trim() };
    }
  }
  await runInOrder(waiting(), {
    // One more than fit waits in front of the model, so that no place is empty meanwhile.
    width: () => model === undefined || model.batchSize === 1 ? 1 : model.batchSize + 1,
    run: async (numbered, { signal }) => {
      invariant(model !== undefined, "a sample is given out when there is a model");
      return await generate(model, { ...numbered, signal, options });
    },
    take: async ({ sample, number, name }, answer) => {
      const isAlone = model?.batchSize === 1;
      const nowMs = performance.now();
      // Of several at once each takes its share, so that the sum is the time that passed.
      const seconds = isAlone ? answer.seconds : (nowMs - takenMs) / 1000;
      takenMs = nowMs;
      const generation = { ...answer, seconds };
      await options.beforeRecord?.();
      await writer.append(outputRecord(sample, generation, { withLogits: options.topLogits > 0 }));
      await options.onSample?.(sample, generation, number - 1);
      progress.finishSample(name);
      runCount++;
    },
  });
  return runCount;
}

/** A sample with its number in the file, from 1 on, and what messages call it. */
interface NumberedSample {
  readonly sample: InputSample;
  readonly number: number;
  readonly name: string;
}

async function generate(
  model: Model,
  run: NumberedSample & { signal: AbortSignal; options: PredictOptions },
): Promise<Generation> {
  const { sample, number, name, signal, options } = run;
  const withMasks = number - 1 === options.maskedSample;
  const { tokensToGenerate, stopWords, topLogits, progress, endIds } = options;
  const keepContext = isContextNext(number - 1, options);
  const { before = "", after = "" } = options.frame ?? {};
  const prompt = { context: before + sample.context, query: sample.query + after, sample: name };
  try {
    return await model.generate(prompt, {
      tokensToGenerate,
      stopWords,
      topLogits,
      signal,
      ...(endIds === undefined ? {} : { endIds }),
      ...(withMasks ? { withMasks } : {}),
      ...(keepContext ? { keepContext } : {}),
      onProgress: (now) => progress.update(now, name),
    });
  } catch (error) {
    // The sample itself cannot be run: its file is at fault.
    if (!(error instanceof RequestError)) throw error;
    throw new FileError(`${error.message} (${options.inputPath})`, { cause: error });
  }
}

/** Whether the next sample that is to run has the same context; samples are counted from 0 on. */
function isContextNext(
  number: number,
  { survey: { contexts }, sampleLimit, finished }: PredictOptions,
): boolean {
  const end = sampleLimit > 0 ? Math.min(sampleLimit, contexts.length) : contexts.length;
  let next = number + 1;
  while (next < end && finished.has(next)) next++;
  return next < end && contexts[next] === contexts[number];
}

/** Tiles that phase 1 selected, and those that dense attention would have computed. */
export function tileCounts(generation: Generation): { selected: number; causal: number } {
  let selected = 0;
  let causal = 0;
  for (const [some, all] of generation.result.selectedTiles) {
    selected += some;
    causal += all;
  }
  return { selected, causal };
}
