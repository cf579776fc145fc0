/**
 * niah, cwe, fwe and qa as NVIDIA/RULER makes them at c3f5e3b (`scripts/data/synthetic`): the
 * prompts of the pinned generators, whose haystacks are searched by bisection and repeated where
 * they end.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { CommonWords } from "../common_words.ts";
import { FrequentWords } from "../frequent_words.ts";
import type {
  CommonWordsSettings,
  FrequentWordsSettings,
  GeneratorOptions,
  NiahSettings,
  QaSettings,
} from "../model.ts";
import { Niah } from "../niah.ts";
import { Qa } from "../qa.ts";
import { type Draft, drawFitting, findSize, type FittingDraft, type Search } from "./search.ts";

/** Below this length haystacks of sentences, and lists, are made in another way. */
const SHORT_TOKENS = 4096;
/** Different words of the list that cwe draws first. */
const PROBE_WORDS = 4096;

/** Context and query as the one text that they are here. */
function joined(drawn: { context: string; query: string; answers: readonly string[] }): Draft {
  return { text: drawn.context + drawn.query, answers: drawn.answers };
}

async function* searchAndDraw(
  options: GeneratorOptions,
  search: Pick<Search, "step" | "probe" | "most"> & {
    /** @param index The sample's number; undefined while the size is searched. */
    readonly draw: (size: number, index?: number) => Draft;
  },
): AsyncGenerator<FittingDraft> {
  const { maxTokens, tokensToGenerate, sampleCount } = options;
  const common = { ...search, maxTokens, otherTokens: tokensToGenerate };
  const size = await findSize(options, { ...common, draw: (size) => search.draw(size) });
  for (let index = 0; index < sampleCount; index++) {
    const draw = (size: number): Draft => search.draw(size, index);
    yield await drawFitting(options, { ...common, size, draw });
  }
}

/** niah's samples. @throws {UsageError} If none fits the length. */
export function drawNiah(options: GeneratorOptions<NiahSettings>): AsyncGenerator<FittingDraft> {
  const niah = new Niah(options, { repeats: true });
  const isEssay = options.settings.haystack === "essay";
  const step = isEssay ? 500 : options.maxTokens < SHORT_TOKENS ? 5 : 25;
  return searchAndDraw(options, { step, draw: (size) => joined(niah.draw(size)) });
}

/** cwe's samples. @throws {UsageError} If none fits the length. */
export function drawCommonWords(
  options: GeneratorOptions<CommonWordsSettings>,
): AsyncGenerator<FittingDraft> {
  const { settings: { examples = 1 }, sources, maxTokens } = options;
  const lists = new CommonWords(options, { examples, gap: " ", moreWords: sources.words?.more });
  return searchAndDraw(options, {
    step: 10,
    probe: PROBE_WORDS,
    most: (tokensPerWord) => floorDivide(maxTokens, tokensPerWord) * 2,
    draw: (size) => {
      if (size > lists.wordCount && sources.words?.more === undefined) {
        throw new FileError(
          `Cannot make samples of ${options.task} as lists of ${size} words need ` +
            "english_words.json beside the word lists: 'deno task data --only english' fetches it",
        );
      }
      return joined(lists.draw(size));
    },
  });
}

/** qa's samples. @throws {UsageError} If none fits, or questions run out. */
export function drawQa(options: GeneratorOptions<QaSettings>): AsyncGenerator<FittingDraft> {
  const qa = new Qa(options, { repeats: true });
  qa.checkQuestions();
  const { earlierSamples } = options;
  return searchAndDraw(options, {
    step: 10,
    // The size is searched with the first question of all, whatever the chunk.
    draw: (size, index) => joined(qa.draw(index === undefined ? 0 : index + earlierSamples, size)),
  });
}

/** fwe's samples; question and answer are within the length, other than in the pinned one. */
export async function* drawFrequentWords(
  options: GeneratorOptions<FrequentWordsSettings>,
): AsyncGenerator<FittingDraft> {
  const { sampleCount, countTokens, tokensToGenerate, contextTemplate, queryTemplate } = options;
  const words = new FrequentWords({
    ...options,
    contextTemplate: contextTemplate + queryTemplate,
    maxTokens: options.maxTokens - tokensToGenerate,
  });
  const { size } = await words.draw(undefined);
  for (let i = 0; i < sampleCount; i++) {
    const { context: text, answers } = await words.draw(size);
    yield { text, answers, length: await countTokens(text) + tokensToGenerate };
  }
}

/** `a // b` of Python's floats, b above 0. */
function floorDivide(a: number, b: number): number {
  const quotient = (a - a % b) / b;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}
