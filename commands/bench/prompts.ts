/**
 * `bench --input_path`: times prompts of one's own, one after the other: each from its text to its
 * last token, and to its first one.
 *
 * @module
 */
import { describeDtype, loadWeightOptions } from "../shared/weights.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { type Generation, loadModel, type Model } from "../../lib/engine/load_model.ts";
import { FileError, RequestError, UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import type { CommandContext } from "../infer/infer.ts";
import { computedShare } from "../shared/computed_share.ts";
import { type AnnouncedDevice, announcedDevice } from "../shared/device.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import { type InputSample, readSamples, surveySamples } from "../shared/samples.ts";
import type { BenchOptions, BenchOutput } from "./options.ts";
import { modelName, rounded } from "./report.ts";
import { type BenchRow, RowPrinter } from "./rows.ts";
import { median, spread } from "./timings.ts";

/** Options with an input. */
export type PromptBenchOptions = BenchOptions & {
  readonly input: NonNullable<BenchOptions["input"]>;
};

/** A prompt's runs. */
interface PromptTiming {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly density: number;
  /** Of each run, from the prompt's text to the last token. */
  readonly seconds: readonly number[];
  /** Of each run, to the first token. */
  readonly firstSeconds: readonly number[];
}

/**
 * Times the prompts of a file in every mode; each measurement is printed when it is there.
 *
 * @throws {UsageError} If an option cannot be used.
 * @throws {FileError} If model or file cannot be used, or a prompt is too long.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a rank is lost.
 */
export async function runPromptBench(
  options: PromptBenchOptions,
  output: BenchOutput,
  context: CommandContext,
): Promise<void> {
  const { model, input, modes } = options;
  if (model.kind !== "folder") throw new UsageError("--model_path is required with --input_path");
  const plans = modes.map((mode) => ({ mode, plan: checkPlan({ ...options, mode }) }));
  const config = await readConfig(model.folder);
  const survey = await surveySamples(input.path);
  const count = input.limit > 0 ? Math.min(input.limit, survey.sampleCount) : survey.sampleCount;
  if (count === 0) {
    throw new FileError(`Cannot use ${input.path} as it must hold samples: found none`);
  }
  const chosen = await announcedDevice(config, options, (line) => context.screen.log(line));
  const { format = "table" } = options;
  const print = (text: string) => output.print(text);
  const printer = format === "table" ? new TextPrinter(print) : new RowPrinter(format, print);
  using _interrupted = context.cleanup.onInterrupt(() => Promise.resolve(printer.end()));
  try {
    for (const { mode, plan } of plans) {
      const asked = context.launchedRanks ?? options.processCount;
      const processCount = usableProcesses(plan, asked, context);
      await using session = openSession(options, { folder: model.folder, mode, chosen, context });
      const loaded = await session.open({ processCount });
      const common = {
        ...{
          model: modelName(options),
          device: loaded.deviceDescription,
          dtype: describeDtype(options),
        },
        ...{ ranks: loaded.processCount, mode, prompt: input.path, batch: 1 },
      };
      const share = (generation: Generation) => computedShare(plan, generation);
      const timings: PromptTiming[] = [];
      for await (const { sample, number } of firstSamples(input.path, count)) {
        output.note(`${mode}: prompt ${number} of ${count}`);
        const timing = await timePrompt(loaded, sample, { ...options, number, share });
        timings.push(timing);
        printer.add({ ...common, ...promptRow(timing), test: `prompt ${number}` });
      }
      printer.add({ ...common, ...overallRow(timings), test: `all ${count}` });
    }
  } finally {
    printer.end();
  }
}

function openSession(
  options: PromptBenchOptions,
  run: {
    folder: string;
    mode: BenchOptions["modes"][number];
    chosen: AnnouncedDevice;
    context: CommandContext;
  },
): ModelSession {
  const { folder, mode, chosen: { device, announce }, context } = run;
  const { blockTokens, anchorTokens, stride, threshold, rest, decodeKeep } = options;
  const { dtype: precision, threads, gpusPerRank, startTimeoutMs } = options;
  return new ModelSession({
    folder,
    load: {
      ...{ mode, blockTokens, anchorTokens, stride, threshold, rest, decodeKeep },
      ...{ device, precision, threads, gpusPerRank, startTimeoutMs },
      ...loadWeightOptions(options),
    },
    ...context,
    announce,
    loadModel: context.loadModel ?? loadModel,
  });
}

async function* firstSamples(
  path: string,
  count: number,
): AsyncGenerator<{ sample: InputSample; number: number }> {
  let number = 0;
  for await (const sample of readSamples(path)) {
    if (number === count) return;
    yield { sample, number: ++number };
  }
}

/** Runs a prompt once without timing it if it is the first one, then as often as is asked for. */
async function timePrompt(
  model: Model,
  sample: InputSample,
  options: PromptBenchOptions & { number: number; share: (generation: Generation) => number },
): Promise<PromptTiming> {
  const { number, repeats, decodeTokens: tokensToGenerate, input, share } = options;
  const { context, query } = sample;
  const seconds: number[] = [];
  const firstSeconds: number[] = [];
  let last: Generation | undefined;
  for (let run = number === 1 ? -1 : 0; run < repeats; run++) {
    const startMs = performance.now();
    let firstMs: number | undefined;
    try {
      last = await model.generate({ context, query, sample: String(number) }, {
        tokensToGenerate,
        onProgress: ({ generatedTokens }) => {
          if (generatedTokens > 0) firstMs ??= performance.now();
        },
      });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new FileError(`${error.message} (${input.path})`, { cause: error });
    }
    if (run < 0) continue;
    const endMs = performance.now();
    seconds.push((endMs - startMs) / 1000);
    firstSeconds.push(((firstMs ?? endMs) - startMs) / 1000);
  }
  const { contextTokens = 0, queryTokens = 0, ids = [] } = last ?? {};
  return {
    promptTokens: contextTokens + queryTokens,
    generatedTokens: ids.length,
    density: last === undefined ? NaN : share(last),
    seconds,
    firstSeconds,
  };
}

/** By medians over the runs; tokens are those of prompt and answer. */
function promptRow(timing: PromptTiming): BenchRow {
  const { promptTokens, generatedTokens, density, seconds, firstSeconds } = timing;
  return {
    tokens: promptTokens,
    generated: generatedTokens,
    runs: seconds.length,
    seconds: rounded(median(seconds), 6),
    spread: rounded(spread(seconds), 6),
    tokens_per_s: rounded((promptTokens + generatedTokens) / median(seconds), 1),
    first_token_s: rounded(median(firstSeconds), 6),
    first_token_spread: rounded(spread(firstSeconds), 6),
    density: rounded(density, 4),
  };
}

/** Means over the prompts, each with its median; ± is from prompt to prompt. */
function overallRow(timings: readonly PromptTiming[]): BenchRow {
  const mean = (of: (timing: PromptTiming) => number) =>
    timings.reduce((sum, timing) => sum + of(timing), 0) / timings.length;
  const seconds = timings.map((timing) => median(timing.seconds));
  const firstSeconds = timings.map((timing) => median(timing.firstSeconds));
  const tokens = mean(({ promptTokens }) => promptTokens);
  const generated = mean(({ generatedTokens }) => generatedTokens);
  return {
    tokens: rounded(tokens, 1),
    generated: rounded(generated, 1),
    runs: timings.length,
    seconds: rounded(average(seconds), 6),
    spread: rounded(spread(seconds), 6),
    tokens_per_s: rounded((tokens + generated) / average(seconds), 1),
    first_token_s: rounded(average(firstSeconds), 6),
    first_token_spread: rounded(spread(firstSeconds), 6),
    density: rounded(mean(({ density }) => density), 4),
  };
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Rows for people. */
class TextPrinter {
  readonly #print: (text: string) => void;
  #mode: unknown;

  constructor(print: (text: string) => void) {
    this.#print = print;
  }

  add(row: BenchRow): void {
    if (row.mode !== this.#mode) {
      this.#mode = row.mode;
      this.#print(
        `${row.model}, ${row.device}, ${row.dtype}, ${row.mode}\n` +
          `prompts: ${row.prompt}; ± is the standard deviation\n` +
          line([
            ...["", "tokens", "generated", "s", "±", "tokens/s", "first token s", "±", "density"],
          ]),
      );
    }
    const number = (value: unknown, digits: number) =>
      typeof value === "number" ? value.toFixed(digits) : "-";
    this.#print(line([
      String(row.test),
      ...[row.tokens, row.generated].map((value) => String(value)),
      ...[row.seconds, row.spread].map((value) => number(value, 3)),
      number(row.tokens_per_s, 1),
      ...[row.first_token_s, row.first_token_spread].map((value) => number(value, 3)),
      number(row.density, 3),
    ]));
  }

  end(): void {}
}

function line(cells: readonly string[]): string {
  const [name = "", ...numbers] = cells;
  return `${name.padEnd(12)}${numbers.map((text) => text.padStart(14)).join("")}\n`;
}
