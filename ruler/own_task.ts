/**
 * Tasks as modules: what a module of tasks exports, and its samples checked.
 *
 * @module
 */
import { errorText, FileError, RequestError, UsageError } from "../lib/errors.ts";
import { describeValue, isJsonObject } from "../lib/text_file.ts";
import { type MetricName, METRICS, type TaskMetric } from "./metrics.ts";
import type { RulerSample } from "./model.ts";
import { chunkOf, type PrepareOptions } from "./prepare.ts";

/** What a task's samples are made for. */
export interface SampleRequest {
  /** Tokens that context, query and answer prefix may have together. */
  readonly maxTokens: number;
  /** How many samples to make. */
  readonly sampleCount: number;
  /** How many samples earlier chunks have. */
  readonly firstSample: number;
  /** The same for the same command; the next chunk has one more. */
  readonly seed: number;
  /** How many tokens a text has. */
  readonly countTokens: (text: string) => Promise<number>;
}

/** A sample of a task. The model's prompt template goes around context and query. */
export interface TaskSample {
  /** What is read. */
  readonly context: string;
  /** What is asked about it. */
  readonly query: string;
  /** What the answer should hold. */
  readonly answers: readonly string[];
  /** The beginning of the model's own turn. */
  readonly answerPrefix?: string;
}

/** What a score depends on. */
export interface Prediction {
  /** As it was generated, cut at the stop words, without white space at its ends. */
  readonly prediction: string;
  /** The sample's own. */
  readonly answers: readonly string[];
  /** The prompt's query, with what the template puts behind it. */
  readonly query: string;
}

/** A task: `export const tasks: Record<string, TaskDefinition>` is what a module has. */
export interface TaskDefinition {
  /** Tokens that a model generates. */
  readonly tokensToGenerate: number;
  /** Its samples, one by one. Sample i must be the same whatever the number of samples. */
  samples(request: SampleRequest): Iterable<TaskSample> | AsyncIterable<TaskSample>;
  /** What a sample scores, 0 to 1. */
  score?(sample: Prediction): number;
  /** In place of `score()`: one of `evaluate`'s metrics. */
  readonly metric?: MetricName;
}

/** A task of a module, checked. */
export interface ModuleTask {
  readonly tokensToGenerate: number;
  readonly metric: TaskMetric;
  readonly samples: TaskDefinition["samples"];
  /** The module's path and SHA-256. */
  readonly module: { readonly path: string; readonly sha256: string };
}

const MAX_TOKENS = 100_000;

/**
 * Checks what a module exports.
 *
 * @param tasks Its `tasks`.
 * @param module Its path and digest.
 * @param isTaken Says of a name whether a benchmark has it.
 * @throws {FileError} If it is not a table of tasks; the message names the key.
 */
export function checkTasks(
  tasks: unknown,
  module: ModuleTask["module"],
  isTaken: (name: string) => boolean,
): ReadonlyMap<string, ModuleTask> {
  const { path } = module;
  const refuse = (key: string, rule: string, found: unknown): never => {
    throw new FileError(
      `Cannot use ${path}: ${key} must ${rule}: current value is ${describeValue(found)}`,
    );
  };
  if (!isJsonObject(tasks) || Object.keys(tasks).length === 0) {
    return refuse("its export 'tasks'", "be an object of tasks by name", tasks);
  }
  const found = new Map<string, ModuleTask>();
  for (const [name, task] of Object.entries(tasks)) {
    if (!/^[A-Za-z]\w*$/.test(name)) {
      refuse(`'${name}'`, "be a name of letters, digits and '_'", name);
    }
    if (isTaken(name)) refuse(`'${name}'`, "be another name than a benchmark's task", name);
    if (!isJsonObject(task)) return refuse(`'${name}'`, "be an object", task);
    const { tokensToGenerate, samples, score, metric } = task;
    const isCount = typeof tokensToGenerate === "number" && Number.isInteger(tokensToGenerate) &&
      tokensToGenerate >= 1 && tokensToGenerate <= MAX_TOKENS;
    if (!isCount) {
      const rule = `be a whole number from 1 to ${MAX_TOKENS}`;
      return refuse(`'${name}.tokensToGenerate'`, rule, tokensToGenerate);
    }
    if (typeof samples !== "function") {
      return refuse(`'${name}.samples'`, "be a function", typeof samples);
    }
    if ((score === undefined) === (metric === undefined)) {
      return refuse(`'${name}'`, "have either 'score' or 'metric'", task);
    }
    found.set(name, {
      tokensToGenerate,
      metric: metricOf(task, (key, rule, value) => refuse(`'${name}.${key}'`, rule, value)),
      // The functions are called as methods of their task.
      samples: samples.bind(task) as TaskDefinition["samples"],
      module,
    });
  }
  return found;
}

function metricOf(
  task: Readonly<Record<string, unknown>>,
  refuse: (key: string, rule: string, found: unknown) => never,
): TaskMetric {
  const { score, metric } = task;
  if (score === undefined) {
    const known = Object.entries(METRICS).find(([name]) => name === metric);
    return known?.[1] ?? refuse("metric", `be one of ${Object.keys(METRICS).join(", ")}`, metric);
  }
  if (typeof score !== "function") return refuse("score", "be a function", typeof score);
  return (sample) => {
    const value: unknown = score.call(task, sample);
    if (typeof value === "number" && value >= 0 && value <= 1) return value;
    return refuse("score()", "give a number from 0 to 1", value);
  };
}

/**
 * The samples of a task, with the model's template around them.
 *
 * @throws {FileError} If the task's own code fails, or a sample is none or too long; the message
 * names the task and the sample, and where in the module it was.
 */
export async function* moduleSamples(
  task: ModuleTask,
  options: Omit<PrepareOptions, "settings" | "sources">,
): AsyncGenerator<RulerSample> {
  const { template: { before, after }, countTokens, randomSeed = 42, chunkIndex } = options;
  const { tokensToGenerate, module: { path } } = task;
  const { sampleCount, earlierSamples } = chunkOf(options);
  const around = await countTokens(before + after) + tokensToGenerate;
  const maxTokens = options.maxTokens - around;
  if (maxTokens < 1) {
    throw new UsageError(
      `Cannot make samples of ${options.task} as its prompt template and the generated tokens ` +
        `take ${around} tokens: current length is ${options.maxTokens}`,
    );
  }
  const own = task.samples({
    ...{ maxTokens, sampleCount, firstSample: earlierSamples, seed: randomSeed + chunkIndex },
    countTokens: async (text) => await countTokens(text),
  });
  let index = 0;
  const named = (text: string): string =>
    `Cannot make sample ${index + 1} of ${options.task}: ${text} (${path})`;
  const samples = withPlace(own, (text) => named(text));
  for await (const sample of samples) {
    if (index === sampleCount) return;
    const fault = faultOf(sample);
    if (fault !== undefined) throw new FileError(named(fault));
    const { context, query, answers, answerPrefix = "" } = sample;
    const prompt = { context: before + context, query: query + after + answerPrefix };
    const length = await countTokens(prompt.context + prompt.query) + tokensToGenerate;
    if (length > options.maxTokens) {
      throw new FileError(
        named(`it has ${length} tokens with its answer, of ${options.maxTokens} at most`),
      );
    }
    yield { index: index++, ...prompt, answers, length };
  }
}

function faultOf(sample: unknown): string | undefined {
  const { context, query, answers, answerPrefix = "" } = isJsonObject(sample) ? sample : {};
  const texts = { context, query, answerPrefix };
  for (const [name, value] of Object.entries(texts)) {
    if (typeof value !== "string") return `'${name}' must be a text, not ${describeValue(value)}`;
  }
  const hasAnswers = Array.isArray(answers) && answers.length > 0 &&
    answers.every((answer) => typeof answer === "string");
  return hasAnswers ? undefined : `'answers' must be texts, at least one`;
}

/** What a module's own code throws, as one line that says where. */
async function* withPlace(
  samples: Iterable<TaskSample> | AsyncIterable<TaskSample>,
  describe: (text: string) => string,
): AsyncGenerator<TaskSample> {
  try {
    yield* samples;
  } catch (error) {
    if (error instanceof FileError || error instanceof RequestError) throw error;
    const stack = error instanceof Error ? error.stack ?? "" : "";
    const [, place] = /\bfile:\/\/\S*?([^/\s]+:\d+:\d+)/.exec(stack) ?? [];
    const at = place === undefined ? "" : ` at ${place}`;
    throw new FileError(describe(`${errorText(error)}${at}`), { cause: error });
  }
}
