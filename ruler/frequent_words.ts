/**
 * Frequent words extraction (`ruler/data/synthetic/freq_words_extraction.py` of
 * NVIDIA/Star-Attention): coded words whose frequencies follow a zeta distribution.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { GrowthWatch, tooShort } from "./attempts.ts";
import type { FrequentWordsSettings, GeneratorOptions, RulerSample } from "./model.ts";
import { inversePower, zeta } from "./python/numpy.ts";
import { FreshShuffle, PythonRandom } from "./python/random.ts";
import { formatFields, sortedSet } from "./python/strings.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const WORD_LETTERS = 6;
/** Tokens per word of the vocabulary, and steps in which a text grows. */
const TOKENS_PER_WORD = 50;
const STEPS = 32;
/** The most frequent word is none that is asked for. */
const NOISE = "...";
const ANSWERS = 3;

/** The samples of fwe, in order; their lengths exceed `maxTokens` a little, as in the original. */
export async function* generateFrequentWords(
  options: GeneratorOptions<FrequentWordsSettings>,
): AsyncGenerator<RulerSample> {
  const { sampleCount, countTokens, tokensToGenerate, queryTemplate: query } = options;
  const words = new FrequentWords(options);
  const size = (await words.draw(undefined)).size;
  for (let index = 0; index < sampleCount; index++) {
    const { context, answers } = await words.draw(size);
    const length = await countTokens(context + query) + tokensToGenerate;
    yield { index, context, query, answers, length };
  }
}

/** Draws texts; every draw moves the random stream on. */
export class FrequentWords {
  readonly #options: GeneratorOptions<FrequentWordsSettings>;
  readonly #random: PythonRandom;
  readonly #shuffle: FreshShuffle;
  readonly #vocabularySize: number;
  readonly #wordLetters: number;
  readonly #step: number;
  /** i ** -alpha for i from 1 on. */
  readonly #powers: readonly number[];
  readonly #zeta: number;

  constructor(options: GeneratorOptions<FrequentWordsSettings>) {
    const { maxTokens, task, seed, settings } = options;
    this.#options = options;
    this.#random = new PythonRandom(seed);
    this.#shuffle = new FreshShuffle(seed);
    this.#vocabularySize = settings.vocabularySize ?? Math.floor(maxTokens / TOKENS_PER_WORD);
    this.#wordLetters = settings.wordLetters ?? WORD_LETTERS;
    this.#step = Math.floor(maxTokens / STEPS);
    // Without words the original crashes, without steps it never ends.
    if (this.#vocabularySize < 1 || this.#step < 1) throw tooShort(task, maxTokens);
    // With as many words as there are, drawing the last ones takes long.
    if (this.#vocabularySize > LETTERS.length ** this.#wordLetters / 2) {
      throw new UsageError(
        `Cannot make samples of ${task} as words of ${this.#wordLetters} letters must be at least ` +
          `twice as many as its ${this.#vocabularySize} different words`,
      );
    }
    this.#powers = Array.from(
      { length: this.#vocabularySize },
      (_, i) => inversePower(i + 1, settings.alpha),
    );
    this.#zeta = zeta(settings.alpha);
  }

  /**
   * A text of at most the wanted tokens, its query and answer not counted.
   *
   * @param size Words to begin with; searched for if there are none.
   */
  async draw(
    size: number | undefined,
  ): Promise<{ context: string; answers: readonly string[]; size: number }> {
    const { maxTokens, countTokens, task } = this.#options;
    const vocabulary = this.#drawVocabulary();
    const tokens = async (size: number): Promise<number> =>
      await countTokens(this.#text(vocabulary, size));
    let found = size ?? 0;
    if (found > 0) {
      while (await tokens(found) > maxTokens) {
        found -= this.#step;
        // From here on the text is the same for ever.
        if (found < -this.#step) throw tooShort(task, maxTokens);
      }
    } else {
      found = Math.floor(maxTokens / this.#wordLetters);
      const growth = new GrowthWatch(task);
      for (let count = await tokens(found); count < maxTokens; count = await tokens(found)) {
        growth.check(count);
        found += this.#step;
      }
      found -= this.#step;
    }
    const answers = vocabulary.slice(1, 1 + ANSWERS);
    return { context: this.#text(vocabulary, found), answers, size: found };
  }

  #drawVocabulary(): string[] {
    const draw = (): string => this.#random.choices(LETTERS, this.#wordLetters).join("");
    const words = new Set<string>();
    for (let i = 0; i < this.#vocabularySize; i++) words.add(draw());
    while (words.size < this.#vocabularySize) words.add(draw());
    const vocabulary = this.#shuffle.shuffled(sortedSet(words));
    vocabulary[0] = NOISE;
    return vocabulary;
  }

  #text(vocabulary: readonly string[], size: number): string {
    const words = vocabulary.flatMap((word, i) => {
      const count = Math.trunc(size * (this.#powers[i] ?? 0) / this.#zeta);
      return Array.from({ length: Math.max(0, count) }, () => word);
    });
    const context = this.#shuffle.shuffled(words).join(" ");
    return formatFields(this.#options.contextTemplate, { context });
  }
}
