/**
 * The prompts of a calibration: RULER's, made for it, or one's own.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { errorText, FileError } from "../../lib/errors.ts";
import { removeFile } from "../../lib/files.ts";
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";
import { RULER_TASKS } from "../../ruler/tasks.ts";
import { makeData } from "../ruler/make_data.ts";
import { checkTemplateName, chooseTemplate } from "../ruler/template.ts";
import { readSamples } from "../shared/samples.ts";
import type { Screen } from "../shared/screen.ts";
import type { CalibrateOptions } from "./options.ts";

const TEMPLATE_FLAG = "--prompt_config";
/** RULER's runs take the samples of chunk 0, whose seed is another. */
const CHUNK = { chunkIndex: 1, chunkCount: 2 } as const;

/** A prompt to measure. */
export interface CalibrationPrompt {
  /** For people. */
  readonly name: string;
  /** SHA-256 of both texts. */
  readonly sha256: string;
  readonly context: string;
  readonly query: string;
  /** What ends an answer, and how long it may be. */
  readonly answer: AnswerLimits;
}

/** Where an answer ends. */
export interface AnswerLimits {
  readonly stopWords: readonly string[];
  readonly tokensToGenerate: number;
}

/** Of prompts of one's own. */
const OWN_ANSWER: AnswerLimits = { stopWords: [], tokensToGenerate: 64 };

/** @throws {UsageError} If the template is none. */
export function checkPrompts(options: CalibrateOptions): void {
  if (options.inputPath === undefined) checkTemplateName(options.template, TEMPLATE_FLAG);
}

/**
 * Reads or makes the prompts.
 *
 * @throws {UsageError} If a task or a length cannot be used.
 * @throws {FileError} If a file or a source cannot be read, or there is no prompt.
 */
export async function calibrationPrompts(
  options: CalibrateOptions,
  context: { tokenizer: TextTokenizer; screen: Screen },
): Promise<CalibrationPrompt[]> {
  const { inputPath, sampleCount } = options;
  const prompts = inputPath === undefined
    ? await rulerPrompts(options, context)
    : await promptsIn(inputPath, { name: "line", limit: sampleCount, answer: OWN_ANSWER });
  if (prompts.length > 0) return prompts;
  throw new FileError(`Cannot use ${inputPath} as it must hold samples: found none`);
}

async function promptsIn(
  path: string,
  options: { name: string; limit: number; answer: AnswerLimits },
): Promise<CalibrationPrompt[]> {
  const prompts: CalibrationPrompt[] = [];
  for await (const { context, query } of readSamples(path)) {
    if (options.limit > 0 && prompts.length === options.limit) break;
    const sha256 = createHash("sha256").update(`${context.length}\0${context}${query}`);
    prompts.push({
      name: `${options.name} ${prompts.length + 1}`,
      sha256: sha256.digest("hex"),
      context,
      query,
      answer: options.answer,
    });
  }
  return prompts;
}

async function rulerPrompts(
  options: CalibrateOptions,
  context: { tokenizer: TextTokenizer; screen: Screen },
): Promise<CalibrationPrompt[]> {
  const { tokenizer, screen } = context;
  const { modelPath: folder, tasks, lengths, sampleCount, sourceDir } = options;
  const template = await chooseTemplate(options.template, {
    folder,
    tokenizer,
    flag: TEMPLATE_FLAG,
  });
  const temporary = await temporaryFolder();
  try {
    const prompts: CalibrationPrompt[] = [];
    for (const maxTokens of lengths) {
      for (const task of tasks) {
        const path = `${temporary}/${task}-${maxTokens}.jsonl`;
        const made = await makeData({
          ...{ task, maxTokens, sourceDir, template, path, ...CHUNK },
          sampleCount: CHUNK.chunkCount * sampleCount,
          removeNewlineTab: false,
          countTokens: (text) => tokenizer.count(text),
        });
        if (!made.isMade) throw new FileError(`Cannot make samples of ${task}: ${made.reason}`);
        if (made.note !== undefined) screen.log(made.note);
        const answer = {
          stopWords: template.stopWords,
          tokensToGenerate: RULER_TASKS[task]?.tokensToGenerate ?? OWN_ANSWER.tokensToGenerate,
        };
        const name = `${task} at ${maxTokens},`;
        prompts.push(...await promptsIn(path, { name, limit: -1, answer }));
      }
    }
    return prompts;
  } finally {
    // What is left there, the system removes some day; the prompts are worth more.
    await removeFile(temporary, { recursive: true }).catch(() => {});
  }
}

async function temporaryFolder(): Promise<string> {
  try {
    return await Deno.makeTempDir({ prefix: "starx-calibrate-" });
  } catch (error) {
    throw new FileError(`Cannot make a folder in TMPDIR, or else /tmp: ${errorText(error)}`, {
      cause: error,
    });
  }
}
