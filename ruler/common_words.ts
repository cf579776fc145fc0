/**
 * Common words extraction (`ruler/data/synthetic/common_words_extraction.py` of
 * NVIDIA/Star-Attention): a numbered list of words, ten of which stand in it more often.
 *
 * @module
 */
import { invariant } from "../lib/errors.ts";
import { drawUntilFits, growSize, searchSize } from "./attempts.ts";
import type { CommonWordsSettings, GeneratorOptions, RulerSample } from "./model.ts";
import { FreshShuffle, PythonRandom } from "./python/random.ts";
import { formatFields, sortedSet } from "./python/strings.ts";

/** Different words are added or taken away in such steps. */
const STEP = 10;
/** Below this length both lists are short, and the frequencies of the settings are not used. */
const SHORT_TOKENS = 4096;

/** How many words a list has, and how often they stand in it. */
interface ListSizes {
  readonly words: number;
  readonly commonFrequency: number;
  readonly otherFrequency: number;
}

/** The samples of cwe, in order. @throws {UsageError} If none fits the length. */
export async function* generateCommonWords(
  options: GeneratorOptions<CommonWordsSettings>,
): AsyncGenerator<RulerSample> {
  const { task, maxTokens, tokensToGenerate, sampleCount, countTokens } = options;
  const lists = new CommonWords(options, { examples: 1, gap: "" });
  const size = await searchSize(() => lists.findSize(), { task, maxTokens });
  for (let index = 0; index < sampleCount; index++) {
    yield await drawUntilFits(async (size) => {
      const { context, query, answers } = lists.draw(size);
      const length = await countTokens(context + query) + tokensToGenerate;
      return { index, context, query, answers, length };
    }, { task, maxTokens, size, step: STEP, shrinks: true });
  }
}

/** How a prompt of cwe is made. */
export interface CommonWordsStyle {
  /** Worked examples in front of the list. */
  readonly examples: number;
  /** What stands between an example and its answer. */
  readonly gap: string;
  /** Words for lists that are longer than the word lists; none if there are no others. */
  readonly moreWords?: readonly string[] | undefined;
}

/** Draws prompts; every draw moves the random stream on. */
export class CommonWords {
  readonly #options: GeneratorOptions<CommonWordsSettings>;
  readonly #random: PythonRandom;
  readonly #shuffle: FreshShuffle;
  readonly #words: readonly string[];
  readonly #style: CommonWordsStyle;

  constructor(options: GeneratorOptions<CommonWordsSettings>, style: CommonWordsStyle) {
    this.#options = options;
    this.#style = style;
    this.#random = new PythonRandom(options.seed);
    this.#shuffle = new FreshShuffle(options.seed);
    const { words } = options.sources;
    invariant(words !== undefined, "cwe needs word lists");
    const all = sortedSet([...words.nouns, ...words.adjectives, ...words.verbs]);
    this.#words = this.#shuffle.shuffled(all);
  }

  /** How many words the lists have together. */
  get wordCount(): number {
    return this.#words.length;
  }

  /** The original's search for the number of different words; every try draws. */
  async findSize(): Promise<number> {
    const countPrompt = async (size: number): Promise<number> => {
      const { context, query, answers } = this.draw(size);
      return await this.#options.countTokens(`${context}${query} ${numbered(answers)}`);
    };
    const limits = { step: STEP, mostItems: this.#words.length };
    return await growSize(countPrompt, { ...this.#options, ...limits });
  }

  /** A prompt with `words` different words in its list. */
  draw(words: number): { context: string; query: string; answers: readonly string[] } {
    const { settings, maxTokens, contextTemplate, queryTemplate: query } = this.#options;
    const short = maxTokens < SHORT_TOKENS;
    const sizes = short
      ? { words: 20, commonFrequency: 3, otherFrequency: 1 }
      : { words: 40, commonFrequency: 10, otherFrequency: 3 };
    const { examples: count, gap } = this.#style;
    const examples = Array.from({ length: count }, () => {
      const { text, common } = this.#drawList(sizes);
      return formatFields(contextTemplate, { context: text }) + query + gap + numbered(common);
    });
    const list = this.#drawList(
      short ? { words, commonFrequency: 6, otherFrequency: 1 } : { words, ...settings },
    );
    // The model's template stands around example and task alike: kept from the original.
    const context = `${examples.join("\n")}\n${
      formatFields(contextTemplate, { context: list.text })
    }`;
    return { context, query, answers: list.common };
  }

  #drawList(sizes: ListSizes): { text: string; common: readonly string[] } {
    const { moreWords } = this.#style;
    const isLong = moreWords !== undefined && sizes.words > this.#words.length;
    const drawn = this.#random.sample(isLong ? moreWords : this.#words, sizes.words);
    const common = drawn.slice(0, this.#options.settings.commonCount);
    const others = drawn.slice(common.length);
    const list = [
      ...copies(common, sizes.commonFrequency),
      ...copies(others, sizes.otherFrequency),
    ];
    return { text: numbered(this.#shuffle.shuffled(list)), common };
  }
}

function copies(items: readonly string[], times: number): string[] {
  return Array.from({ length: times }, () => items).flat();
}

function numbered(words: readonly string[]): string {
  return words.map((word, i) => `${i + 1}. ${word}`).join(" ");
}
