/**
 * Needles in a haystack (`ruler/data/synthetic/niah.py` of NVIDIA/Star-Attention): sentences with
 * magic numbers hidden in essays, in repeated sentences, or among sentences of their own kind.
 *
 * @module
 */
import { invariant } from "../lib/errors.ts";
import { drawUntilFits, GrowthWatch, searchSize } from "./attempts.ts";
import type { GeneratorOptions, NeedleType, NiahSettings, RulerSample } from "./model.ts";
import { DEPTHS } from "./python/numpy.ts";
import { FreshShuffle, PythonRandom, randomUuid } from "./python/random.ts";
import { formatFields, repeated } from "./python/strings.ts";
import { strip } from "./python/text.ts";
import { CompoundWords } from "./words.ts";

/** What stands around needles where there is no essay. */
const REPEATED =
  "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
/** Below this length the haystack of sentences grows in smaller steps. */
const SHORT_TOKENS = 4096;

/** Lengths of an essay whose sentences are kept. */
const MAX_KEPT = 8;

/** A prompt before its length is known. */
export interface NiahDraft {
  readonly context: string;
  readonly query: string;
  readonly answers: readonly string[];
}

/** The samples of a niah task, in order. @throws {UsageError} If none fits the length. */
export async function* generateNiah(
  options: GeneratorOptions<NiahSettings>,
): AsyncGenerator<RulerSample> {
  const { task, settings, maxTokens, tokensToGenerate, sampleCount, countTokens } = options;
  const niah = new Niah(options);
  const short = settings.haystack !== "essay" && maxTokens < SHORT_TOKENS;
  const step = settings.haystack === "essay" ? 500 : short ? 5 : 25;
  const size = await searchSize(() => niah.findSize(step), { task, maxTokens });
  for (let index = 0; index < sampleCount; index++) {
    yield await drawUntilFits(async (size) => {
      const { context, query, answers } = niah.draw(size);
      const length = await countTokens(context + query) + tokensToGenerate;
      return { index, context, query, answers, length };
    }, { task, maxTokens, size, step, shrinks: true });
  }
}

/** Draws prompts; every draw moves the random stream on. */
export class Niah {
  readonly #options: GeneratorOptions<NiahSettings>;
  readonly #repeats: boolean;
  readonly #random: PythonRandom;
  readonly #shuffle: FreshShuffle;
  readonly #words: CompoundWords | undefined;
  readonly #keyCount: number;
  readonly #contextTemplate: string;
  readonly #queryTemplate: string;
  /** As the templates name the values: without its last letter if there is one. */
  readonly #valueName: string;
  /** The sentences of the first words of the essay, by how many words. */
  readonly #sentences = new Map<number, readonly string[]>();

  /** @param style Whether an essay that is too short is repeated, as the generators of 2026 do. */
  constructor(options: GeneratorOptions<NiahSettings>, style: { repeats?: boolean } = {}) {
    this.#options = options;
    this.#repeats = style.repeats ?? false;
    const { seed, settings, sources } = options;
    const { keys, values, queries, valueType } = settings;
    this.#random = new PythonRandom(seed);
    this.#shuffle = new FreshShuffle(seed);
    this.#words = sources.words && new CompoundWords(sources.words);
    this.#keyCount = Math.max(keys, queries);
    const isSingle = queries * values === 1;
    const adapt = (template: string): string => isSingle ? singular(template) : template;
    this.#contextTemplate = adapt(options.contextTemplate);
    this.#queryTemplate = adapt(options.queryTemplate);
    this.#valueName = isSingle ? valueType.slice(0, -1) : valueType;
  }

  /** The original's search: as many words or sentences as fit; every try draws. */
  async findSize(step: number): Promise<number> {
    const { task, maxTokens, tokensToGenerate, countTokens, settings, sources } = this.#options;
    let size = step;
    const growth = new GrowthWatch(task);
    let tokens = 0;
    while (tokens + tokensToGenerate < maxTokens) {
      const { context, query, answers } = this.draw(size);
      tokens = await countTokens(context + query + answers.join(" "));
      growth.check(tokens);
      if (tokens + tokensToGenerate > maxTokens) return size - step;
      const words = sources.essay?.length ?? 0;
      if (settings.haystack === "essay" && size > words) {
        this.#options.onSourceEnd?.();
        return words;
      }
      // With exactly the wanted length the loop ends one step later: kept from the original.
      size += step;
    }
    return size;
  }

  /** A prompt of `size` words of an essay, or sentences. */
  draw(size: number): NiahDraft {
    const { settings } = this.#options;
    const { keyType, valueType, values: valueCount } = settings;
    const keys: string[] = [];
    const values: string[][] = [];
    const needles: string[] = [];
    for (let i = 0; i < this.#keyCount; i++) {
      const key = this.#drawNeedlePart(keyType);
      const own: string[] = [];
      for (let j = 0; j < valueCount; j++) {
        const value = this.#drawNeedlePart(valueType);
        own.push(value);
        needles.push(this.#sentence(key, value));
      }
      keys.push(key);
      values.push(own);
    }
    const shuffled = this.#shuffle.shuffled(needles);
    const text = settings.haystack === "essay"
      ? this.#hideInEssay(shuffled, size)
      : this.#hideInSentences(shuffled, size);
    const asked = this.#random.sampleIndices(this.#keyCount, settings.queries);
    const names = asked.map((i) => keys[i] ?? "");
    const name = names.length > 1
      ? `${names.slice(0, -1).join(", ")}, and ${names.at(-1)}`
      : names[0] ?? "";
    return {
      context: formatFields(this.#contextTemplate, {
        type_needle_v: this.#valueName,
        context: text,
      }),
      query: formatFields(this.#queryTemplate, { type_needle_v: this.#valueName, query: name }),
      answers: asked.flatMap((i) => values[i] ?? []),
    };
  }

  #sentence(key: string, value: string): string {
    return `One of the special magic ${this.#options.settings.valueType} for ${key} is: ${value}.`;
  }

  #drawNeedlePart(type: NeedleType): string {
    if (type === "numbers") return String(this.#random.randint(1000000, 9999999));
    if (type === "uuids") return randomUuid(this.#random);
    invariant(this.#words !== undefined, "keys of words need word lists");
    return this.#words.at(this.#random.choiceIndex(this.#words.length));
  }

  /** Needles between the sentences of an essay; an empty piece leaves its space behind. */
  #hideInEssay(needles: readonly string[], words: number): string {
    const sentences = this.#essaySentences(words);
    const depths = this.#random.sample(DEPTHS, needles.length);
    const places = depths.map((depth) => Math.trunc(sentences.length * (depth / 100)))
      .sort((a, b) => a - b);
    const pieces: string[] = [];
    let last = 0;
    for (const [i, place] of places.entries()) {
      pieces.push(sentences.slice(last, place).join(" "), needles[i] ?? "");
      last = place;
    }
    pieces.push(sentences.slice(last).join(" "));
    return pieces.join(" ");
  }

  #essaySentences(words: number): readonly string[] {
    const { essay, splitSentences } = this.#options.sources;
    invariant(essay !== undefined && splitSentences !== undefined, "essays need their sources");
    let sentences = this.#sentences.get(words);
    if (sentences === undefined) {
      const text = this.#repeats ? repeated(essay, words) : essay.slice(0, words);
      sentences = splitSentences(strip(text.join(" ")));
      // Searches pass through many lengths; only the last ones come back.
      if (this.#sentences.size >= MAX_KEPT) this.#sentences.clear();
      this.#sentences.set(words, sentences);
    }
    return sentences;
  }

  #hideInSentences(needles: readonly string[], count: number): string {
    const { haystack, keyType, valueType } = this.#options.settings;
    const sentences = Array.from({ length: count }, () => {
      if (haystack === "repeat") return REPEATED;
      const key = this.#drawNeedlePart(keyType);
      return this.#sentence(key, this.#drawNeedlePart(valueType));
    });
    const places = this.#random.sampleIndices(count, needles.length).sort((a, b) => b - a);
    for (const [i, place] of places.entries()) sentences.splice(place, 0, needles[i] ?? "");
    return sentences.join("\n");
  }
}

/**
 * The template for one value. The original replaces in all of it, the chat template included, so
 * that the system prompt becomes "You is a helpful assistant": kept, as it is part of the data.
 */
export function singular(template: string): string {
  return template.replaceAll("Some", "A").replaceAll("are all", "is").replaceAll("are", "is")
    .replaceAll("answers", "answer");
}
