/**
 * The `perplexity` command: how well a model predicts a text, against the length of what it sees of it.
 *
 * @module
 */
import { loadWeightOptions, type WeightOptions } from "../shared/weights.ts";
import {
  type AttentionMode,
  type CheckedPlan,
  checkPlan,
  modeOf,
  type PlanOptions,
} from "../../lib/attention/plan.ts";
import type { SelectModule } from "../../lib/attention/select_module.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import { FileError, RequestError, UsageError } from "../../lib/errors.ts";
import type { CheckedLoad } from "../../lib/engine/options.ts";
import { replaceFile } from "../../lib/files.ts";
import { readConfig } from "../../lib/model/config.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import type { ComputeDType } from "../../lib/model/precision.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { readTextFile } from "../../lib/text_file.ts";
import type { CommandContext } from "../infer/infer.ts";
import type { Format } from "../results/formats.ts";
import { type AnnouncedDevice, announcedDevice } from "../shared/device.ts";
import { checkOutputFile } from "../shared/output_file.ts";
import { checkSelects } from "../shared/run_options.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import {
  formatPerplexities,
  type LengthPerplexity,
  perplexityCsv,
  perplexityText,
} from "./results.ts";
import { placeSpans, type ScoredSpan } from "./windows.ts";

/** Options of {@linkcode runPerplexity}; the defaults are the command line's. */
export interface PerplexityOptions extends WeightOptions {
  readonly modelPath: string;
  /** A text in UTF-8. */
  readonly inputPath: string;
  readonly modes: readonly AttentionMode[];
  /** What the modes have in common. */
  readonly plan: Omit<PlanOptions, "mode">;
  /** Tokens of context and span. */
  readonly lengths: readonly number[];
  /** Tokens that are scored at the end of each context. */
  readonly spanTokens: number;
  /** How many spans of the text are scored, at most. */
  readonly spanCount: number;
  /** Stands in front of every context, for models that need it. */
  readonly prefix: string;
  readonly device: CheckedLoad["device"];
  readonly dtype: ComputeDType;
  readonly processCount: number;
  readonly threads: number;
  readonly gpusPerRank?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly startTimeoutMs?: number | undefined;
  readonly copyWeights?: boolean | undefined;
  readonly ropeScaling?: CheckedLoad["ropeScaling"];
  /** Selects tiles in the modes that do so, or looks at them. */
  readonly selectModule?: SelectModule | undefined;
  readonly format: Format;
  /** Gets the results as comma-separated values, too, as far as there are any. */
  readonly outputPath: string | undefined;
}

/** A larger text takes hours. */
const MAX_TEXT_BYTES = 2 ** 30;

/**
 * Scores the same tokens of a text behind contexts of several lengths, mode by mode; what is found is
 * shown whatever happens later.
 *
 * @throws {UsageError} If an option cannot be used.
 * @throws {FileError} If model or text cannot be used.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a rank is lost.
 */
export async function runPerplexity(
  options: PerplexityOptions,
  context: CommandContext,
): Promise<LengthPerplexity[]> {
  const { screen, cleanup } = context;
  const { modes, format, outputPath } = options;
  const plans = modes.map((mode) => checkPlan({ ...options.plan, mode }));
  checkSelects(plans, options);
  const config = await readConfig(options.modelPath, options);
  checkLengths(options, config);
  const chosen = await announcedDevice(config, options, (line) => screen.log(line));
  if (outputPath !== undefined) {
    await checkOutputFile(outputPath, {
      kind: "a table of perplexity",
      isOwn: (begin) => begin.startsWith("mode,length,"),
      inputs: { "--input_path": options.inputPath, "--model_path": options.modelPath },
    });
  }
  const text = await readTokens(options);
  const spans = placeSpans({ tokens: text.ids.length, name: options.inputPath }, {
    longest: Math.max(...options.lengths) - text.prefixIds.length,
    spanTokens: options.spanTokens,
    count: options.spanCount,
  });
  if (spans.length < options.spanCount) {
    screen.log(`${options.inputPath} has room for ${spans.length} of ${options.spanCount} spans`);
  }
  const results: LengthPerplexity[] = [];
  const show = async (): Promise<void> => {
    if (results.length === 0) return;
    screen.print(formatPerplexities(results, format));
    if (outputPath !== undefined) await replaceFile(outputPath, [perplexityCsv(results)]);
  };
  // Whoever interrupts a run still sees what it found.
  using _interrupted = cleanup.onInterrupt(show);
  try {
    for (const plan of plans) {
      const asked = context.launchedRanks ?? options.processCount;
      const processCount = usableProcesses(plan, asked, { screen });
      const mode = modeOf(plan);
      await using session = openSession(options, { plan, chosen, context });
      const model = await session.open({ processCount });
      for (const length of options.lengths) {
        const result = await scoreLength(model, { ...text, spans, length, options, mode });
        results.push(result);
        screen.log(
          `${mode} at ${length}: perplexity ${
            perplexityText(result)
          } of ${result.tokens} tokens, ` +
            `${(result.seconds / spans.length).toFixed(2)} s per span`,
        );
      }
    }
  } finally {
    await show();
  }
  return results;
}

/** @throws {UsageError} If a length leaves no context, or exceeds the model's positions. */
function checkLengths(
  { lengths, spanTokens }: PerplexityOptions,
  { maxPositions }: Pick<ModelShape, "maxPositions">,
): void {
  const refuse = (rule: string, lengths: readonly number[]): never => {
    throw new UsageError(`--seq_lengths: must be ${rule}: current value is ${lengths.join(" ")}`);
  };
  const short = lengths.filter((length) => length <= spanTokens);
  if (short.length > 0) refuse(`above --span_tokens, which is ${spanTokens}`, short);
  const long = lengths.filter((length) => length > maxPositions);
  if (long.length > 0) {
    refuse(`at most the model's ${maxPositions} positions (max_position_embeddings)`, long);
  }
}

/** The text's tokens, and those of the prefix. */
async function readTokens(
  { modelPath, inputPath, prefix }: PerplexityOptions,
): Promise<{ ids: Int32Array; prefixIds: Int32Array }> {
  const text = await readTextFile(inputPath, { maxBytes: MAX_TEXT_BYTES });
  using tokenizer = await openTokenizerThread(modelPath);
  return {
    ids: await tokenizer.encode(text),
    prefixIds: prefix === "" ? new Int32Array(0) : await tokenizer.encode(prefix),
  };
}

function openSession(
  options: PerplexityOptions,
  run: { plan: CheckedPlan; chosen: AnnouncedDevice; context: CommandContext },
): ModelSession {
  const { plan: { selection }, chosen: { device, announce }, context } = run;
  const mode = modeOf(run.plan);
  const { modelPath: folder, plan, dtype: precision, threads, lengths } = options;
  const { gpusPerRank, timeoutMs, startTimeoutMs, copyWeights, ropeScaling } = options;
  return new ModelSession({
    folder,
    load: {
      ...{ ...plan, mode, device, precision, threads, gpusPerRank, timeoutMs, startTimeoutMs },
      ...loadWeightOptions(options),
      ...{ copyWeights, ropeScaling, expectedTokens: Math.max(...lengths) },
      selectModule: selection === undefined ? undefined : options.selectModule,
    },
    ...context,
    announce,
    loadModel: context.loadModel ?? loadModel,
  });
}

/** Scores all spans, each behind the last tokens of the text in front of it. */
async function scoreLength(
  model: Model,
  run: {
    ids: Int32Array;
    prefixIds: Int32Array;
    spans: readonly ScoredSpan[];
    length: number;
    options: PerplexityOptions;
    mode: AttentionMode;
  },
): Promise<LengthPerplexity> {
  const { ids, prefixIds, spans, length, options, mode } = run;
  const startMs = performance.now();
  const losses: number[] = [];
  for (const [i, { start, end }] of spans.entries()) {
    const before = ids.subarray(end - (length - prefixIds.length), start);
    const contextIds = Int32Array.from([...prefixIds, ...before]);
    try {
      const { logprob, tokens } = await model.score(contextIds, ids.slice(start, end), {
        sample: `${mode} at ${length}, span ${i + 1}`,
      });
      losses.push(-logprob / tokens.length);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new FileError(`${error.message} (${options.inputPath})`, { cause: error });
    }
  }
  const seconds = (performance.now() - startMs) / 1000;
  const tokens = spans.reduce((sum, { start, end }) => sum + end - start, 0);
  return { mode, length, losses, tokens, seconds };
}
