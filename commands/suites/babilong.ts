/**
 * BABILong as a suite.
 *
 * @module
 */
import {
  BABILONG_TASKS,
  formatLine,
  formatPrompt,
  isRight,
  PROMPTS,
  questionOf,
  readRows,
  scoreFile,
  SPLITS,
  taskFiles,
  taskFolder,
  TOKENS_TO_GENERATE,
} from "../../babilong/mod.ts";
import { dataFolder } from "../../lib/data_folder.ts";
import { invariant } from "../../lib/errors.ts";
import { replaceFile } from "../../lib/files.ts";
import { formatCsv } from "../../ruler/csv.ts";
import type { TaskScore } from "../../ruler/evaluate.ts";
import { floatRepr } from "../../ruler/python/float.ts";
import type { DataOutcome, DataRequest, OpenDataMaker } from "../ruler/data.ts";
import { hasContent } from "../shared/samples.ts";
import type { Suite } from "./suite.ts";

/** The benchmark of the `babilong` command. */
export const BABILONG: Suite = {
  name: "babilong",
  title: "BABILong",
  paper: "arXiv 2406.10149",
  tasks: BABILONG_TASKS,
  openMaker: (options) =>
    Promise.resolve({
      setup: () => ({
        tokensToGenerate: TOKENS_TO_GENERATE,
        stopWords: options.template.stopWords,
      }),
      make: async (request) => await makeData(request, options),
      pregenName: (task, maxTokens) => {
        const split = splitOf(maxTokens);
        return `${split}/${task}_${split}.jsonl`;
      },
    }),
  scoreSample: (task, { prediction, answers, query }) => {
    const [target] = answers;
    if (target === undefined) return undefined;
    return isRight(task, { target, output: prediction, question: questionOf(query) }) ? 1 : 0;
  },
  metricName: () => "babilong_match",
  summarize: async (folder, { limit, print }) => {
    const scores: TaskScore[] = [];
    for (const task of BABILONG_TASKS) {
      const path = `${folder}/${task}.jsonl`;
      if (!(await hasContent(path))) continue;
      const { values, nullCount } = await scoreFile(path, task, { limit });
      const right = values.filter((value) => value > 0).length;
      const score = 100 * right / values.length;
      print(`${task}: ${right} of ${values.length}\n`);
      scores.push({ task, score, nullCount, sampleCount: values.length, values });
    }
    await writeSummary(`${folder}/summary.csv`, scores);
    return scores;
  },
};

function splitOf(maxTokens: number): string {
  const split = SPLITS.get(maxTokens);
  invariant(split !== undefined, "the command takes no length that is no split's");
  return split;
}

async function makeData(
  request: DataRequest,
  options: Pick<Parameters<OpenDataMaker>[0], "sourceDir" | "template">,
): Promise<DataOutcome> {
  const { task, maxTokens, sampleCount, path, onSample } = request;
  const folder = dataFolder(options.sourceDir);
  const split = splitOf(maxTokens);
  const files = await taskFiles(folder, { split, task });
  if (files.length === 0) {
    return {
      isMade: false,
      reason: `${taskFolder(split, task)} not found in ${folder}: 'deno task data --benchmark ` +
        `babilong --splits ${split} --tasks ${task}' fetches it`,
    };
  }
  const prompt = PROMPTS[task];
  invariant(prompt !== undefined, "each task has its prompt");
  await replaceFile(path, lines());
  return { isMade: true, words: undefined };

  async function* lines(): AsyncGenerator<string> {
    let index = 0;
    for await (const row of readRows(files)) {
      if (index === sampleCount) return;
      onSample?.(index);
      const around = options.template;
      invariant(prompt !== undefined, "each task has its prompt");
      const { context, query } = formatPrompt(row, { prompt, around });
      yield formatLine({ index: index++, context, query, answers: [row.target] });
    }
  }
}

/** In the form of RULER's, so that one program reads both. */
async function writeSummary(path: string, scores: readonly TaskScore[]): Promise<void> {
  const rows = [
    Array.from({ length: scores.length + 1 }, (_, column) => String(column)),
    ["Tasks", ...scores.map(({ task }) => task)],
    ["Score", ...scores.map(({ score = 0 }) => floatRepr(Math.round(score * 100) / 100))],
    ["Nulls", ...scores.map(({ nullCount, sampleCount }) => `${nullCount}/${sampleCount}`)],
  ];
  await replaceFile(path, [formatCsv(rows)]);
}
