/**
 * Makes the data of RULER's tasks with the generators of `ruler/` and a model's tokenizer.
 *
 * @module
 */
import { dataFolder } from "../lib/data_folder.ts";
import { UsageError } from "../lib/errors.ts";
import { replaceFile } from "../ruler/files.ts";
import type { TaskSettings } from "../ruler/model.ts";
import { formatSample, type PrepareOptions, prepareSamples } from "../ruler/prepare.ts";
import { loadSources, missingSources, type SourceOptions } from "../ruler/sources.ts";
import { RULER_TASKS, type RulerTask } from "../ruler/tasks.ts";
import { MODEL_TEMPLATES, type ModelTemplate, type TemplateName } from "../ruler/templates.ts";
import type { DataMaker, DataOutcome, DataRequest, OpenDataMaker } from "./ruler_data.ts";

/** Opens the generators; what they need is read when a task is made. */
export const openDataMaker: OpenDataMaker = ({ countTokens, sourceDir }) => {
  const sources: SourceOptions = {
    folder: dataFolder(sourceDir),
    builtinWords: async () => await (await import("../lib/deps/words.ts")).builtinWords(),
  };
  const maker: DataMaker = {
    setup: (task, template) => ({
      tokensToGenerate: taskOf(task).tokensToGenerate,
      stopWords: templateOf(template).stopWords,
    }),
    make: async (request) => await makeTask(request, { countTokens, sources }),
  };
  return Promise.resolve(maker);
};

async function makeTask(
  request: DataRequest,
  tools: { countTokens: PrepareOptions["countTokens"]; sources: SourceOptions },
): Promise<DataOutcome> {
  const { task, template, maxTokens, sampleCount, path } = request;
  const settings = settingsOf(request);
  const missing = await missingSources(settings, tools.sources);
  if (missing.length > 0) {
    const names = missing.length > 2 ? `${missing[0]} and others` : missing.join(" and ");
    return {
      isMade: false,
      reason: `${tools.sources.folder} lacks ${names} (deno task data fetches RULER's source data)`,
    };
  }
  const sources = await loadSources(settings, tools.sources);
  const samples = prepareSamples({
    task,
    settings,
    template: templateName(template),
    maxTokens,
    sampleCount,
    chunkIndex: 0,
    chunkCount: 1,
    removeNewlineTab: false,
    countTokens: tools.countTokens,
    sources,
  });
  await replaceFile(path, formatSamples(samples, request));
  return { isMade: true, words: sources.words?.kind };
}

function* formatSamples(
  samples: ReturnType<typeof prepareSamples>,
  request: DataRequest,
): Generator<string> {
  for (const sample of samples) {
    request.onSample?.(sample.index);
    yield formatSample(sample);
  }
}

/** A task's settings; only cwe's depend on the request. */
function settingsOf({ task, cweFrequencies }: DataRequest): TaskSettings {
  const { settings } = taskOf(task);
  const [commonFrequency, otherFrequency] = cweFrequencies;
  const isGiven = commonFrequency !== undefined && otherFrequency !== undefined;
  if (settings.generator !== "common_words_extraction" || !isGiven) return settings;
  return { ...settings, commonFrequency, otherFrequency };
}

function taskOf(name: string): RulerTask {
  const task = RULER_TASKS[name];
  if (task !== undefined) return task;
  throw new UsageError(
    `--tasks: must be one of ${Object.keys(RULER_TASKS).join(", ")}: current value is '${name}'`,
  );
}

function templateName(name: string): TemplateName {
  if (name === "base" || name === "llama3") return name;
  throw new UsageError(
    `--prompt_config: must be one of ${Object.keys(MODEL_TEMPLATES).join(", ")}: ` +
      `current value is '${name}'`,
  );
}

function templateOf(name: string): ModelTemplate {
  return MODEL_TEMPLATES[templateName(name)];
}
