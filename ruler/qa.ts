/**
 * Questions about documents (`ruler/data/synthetic/qa.py` of NVIDIA/Star-Attention): SQuAD and
 * HotpotQA, the right documents among others.
 *
 * @module
 */
import { invariant, UsageError } from "../lib/errors.ts";
import { drawUntilFits, growSize, searchSize } from "./attempts.ts";
import type { GeneratorOptions, QaSettings, Question, RulerSample } from "./model.ts";
import { FreshShuffle, PythonRandom } from "./python/random.ts";
import { formatFields, repeated } from "./python/strings.ts";
import { listRepr } from "./python/text.ts";

/** Documents are added or taken away in such steps. */
const STEP = 10;
/** SQuAD's documents are taken as often. */
const SQUAD_COPIES = 5;

/** The samples of a qa task, in order. @throws {UsageError} If none fits, or questions run out. */
export async function* generateQa(
  options: GeneratorOptions<QaSettings>,
): AsyncGenerator<RulerSample> {
  const { task, maxTokens, tokensToGenerate, sampleCount, countTokens } = options;
  const qa = new Qa(options);
  qa.checkQuestions();
  const size = await searchSize(() => qa.findSize(), { task, maxTokens });
  for (let index = 0; index < sampleCount; index++) {
    yield await drawUntilFits(async (size) => {
      const { context, query, answers } = qa.draw(index + options.earlierSamples, size);
      const length = await countTokens(context + query) + tokensToGenerate;
      return { index, context, query, answers, length };
    }, { task, maxTokens, size, step: STEP, shrinks: true });
  }
}

/** Draws prompts; every draw moves the random stream on. */
export class Qa {
  readonly #options: GeneratorOptions<QaSettings>;
  readonly #random: PythonRandom;
  readonly #shuffle: FreshShuffle;
  readonly #questions: readonly Question[];
  readonly #repeats: boolean;
  /** In an order that changes for good once all of them are asked for: kept from the original. */
  #documents: readonly string[];

  /** @param style Whether documents that are too few are repeated, as the generators of 2026 do. */
  constructor(options: GeneratorOptions<QaSettings>, style: { repeats?: boolean } = {}) {
    this.#options = options;
    this.#repeats = style.repeats ?? false;
    this.#random = new PythonRandom(options.seed);
    this.#shuffle = new FreshShuffle(options.seed);
    const set = options.sources.questions;
    invariant(set !== undefined, "qa needs questions");
    this.#questions = set.questions;
    const copies = options.settings.dataset === "squad" && !this.#repeats ? SQUAD_COPIES : 1;
    this.#documents = Array.from({ length: copies }, () => set.documents).flat();
  }

  /** @throws {UsageError} If there are more samples than questions. */
  checkQuestions(): void {
    const { task, earlierSamples, sampleCount } = this.#options;
    const last = earlierSamples + sampleCount;
    if (last <= this.#questions.length) return;
    throw new UsageError(
      `Cannot make samples of ${task} as '--num_samples' must be at most its ` +
        `${this.#questions.length} questions: current value is ${last}`,
    );
  }

  /** The original's search for the number of documents, with the first question; every try draws. */
  async findSize(): Promise<number> {
    const countPrompt = async (size: number): Promise<number> => {
      const { context, query, answers } = this.draw(0, size);
      return await this.#options.countTokens(`${context}${query} ${listRepr(answers)}`);
    };
    const limits = { step: STEP, mostItems: this.#documents.length };
    return await growSize(countPrompt, { ...this.#options, ...limits });
  }

  /** @throws {RangeError} If a question has more documents than are wanted. */
  draw(
    index: number,
    size: number,
  ): { context: string; query: string; answers: readonly string[] } {
    const question = this.#questions[index];
    invariant(question !== undefined, `there must be a question ${index}`);
    const documents = size < this.#documents.length
      ? this.#shuffle.shuffled(this.#choose(question, size).map((i) => this.#documents[i] ?? ""))
      : this.#shuffle.shuffled(
        this.#repeats ? repeated(this.#documents, size) : this.#documents,
      );
    if (size >= this.#documents.length && !this.#repeats) this.#documents = documents;
    const context = documents.map((document, i) => `Document ${i + 1}:\n${document}`).join("\n\n");
    const { contextTemplate, queryTemplate } = this.#options;
    return {
      context: formatFields(contextTemplate, { context }),
      query: formatFields(queryTemplate, { query: question.query }),
      answers: question.answers,
    };
  }

  #choose(question: Question, size: number): readonly number[] {
    const { documents, related } = question;
    const wanted = size - documents.length;
    if (wanted <= related.length) return [...documents, ...this.#random.sample(related, wanted)];
    const own = new Set([...documents, ...related]);
    const others: number[] = [];
    for (let i = 0; i < this.#documents.length; i++) if (!own.has(i)) others.push(i);
    const count = Math.max(0, wanted - related.length);
    return [...documents, ...related, ...this.#random.sample(others, count)];
  }
}
