/**
 * Variable tracking as NVIDIA/RULER makes it at c3f5e3b
 * (`scripts/data/synthetic/variable_tracking.py`): chains of assignments among repeated sentences or
 * in an essay, behind one worked example.
 *
 * @module
 */
import { invariant, UsageError } from "../../lib/errors.ts";
import { Variables } from "../chains.ts";
import type { GeneratorOptions, VariableTrackingSettings } from "../model.ts";
import { DEPTHS } from "../python/numpy.ts";
import { formatFields, removeNewlines, splitWords } from "../python/strings.ts";
import { strip } from "../python/text.ts";
import { type Draft, drawFitting, findSize, type FittingDraft } from "./search.ts";
import { TEMPLATES_2026 } from "./templates.ts";

const NOISE =
  "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
const TEXTS = TEMPLATES_2026.variable_tracking;
/** The example's length in tokens, and the value of its first variable until it is shown. */
const EXAMPLE_TOKENS = 500;
const EXAMPLE_VALUE = "12345";
const SHORT_TOKENS = 4096;
/** How the task is found behind the model's template. */
const TASK_START = TEXTS.context.slice(0, 20);

/** What is drawn: samples, or the example in front of them. */
interface Round {
  readonly isExample: boolean;
  readonly step: number;
}

/** vt's samples. @throws {UsageError} If none fits, or where the original crashes. */
export async function* drawVariableTracking(
  options: GeneratorOptions<VariableTrackingSettings>,
): AsyncGenerator<FittingDraft> {
  const { settings, maxTokens, tokensToGenerate, sampleCount, countTokens } = options;
  const isEssay = settings.haystack === "essay";
  const tracker = new Tracker(options);
  const first = await tracker.drawExample({ isExample: true, step: isEssay ? 50 : 5 });
  const example = `${first.text} ${first.answers.join(" ")}\n`;
  const step = isEssay ? 500 : maxTokens < SHORT_TOKENS ? 5 : 10;
  const round: Round = { isExample: false, step };
  const size = await findSize(options, {
    ...{ step, maxTokens, draw: (size) => tracker.draw(round, size) },
    otherTokens: tokensToGenerate + await countTokens(example),
    ends: isEssay,
  });
  // Essays are not repeated here.
  if (isEssay && size > (options.sources.essay?.length ?? 0)) options.onSourceEnd?.();
  for (let i = 0; i < sampleCount; i++) {
    yield await drawFitting(options, {
      ...{ step, size, maxTokens, otherTokens: tokensToGenerate },
      draw: (size) => tracker.tryDraw(round, { size, example }),
    });
  }
}

class Tracker {
  readonly #options: GeneratorOptions<VariableTrackingSettings>;
  readonly #variables: Variables;

  constructor(options: GeneratorOptions<VariableTrackingSettings>) {
    this.#options = options;
    this.#variables = new Variables(options.seed);
  }

  /** The worked example, which leaves no tokens for an answer. */
  async drawExample(round: Round): Promise<Draft> {
    const options = { ...this.#options, task: `${this.#options.task}'s worked example` };
    const ends = this.#options.settings.haystack === "essay";
    const fixed = { step: round.step, maxTokens: EXAMPLE_TOKENS, otherTokens: 0, ends };
    const size = await findSize(options, { ...fixed, draw: (size) => this.draw(round, size) });
    return await drawFitting(options, {
      ...{ ...fixed, size },
      draw: (size) => this.tryDraw(round, { size }),
    });
  }

  /** A prompt, without the example. @throws {UsageError} Where the original ends with an error. */
  draw(round: Round, size: number): Draft {
    const draft = this.#draft(round, size);
    if (draft !== undefined) return draft;
    throw new UsageError(
      `Cannot make samples of ${this.#options.task} as names drawn for its variables must differ: ` +
        "the original stops here, too; another seed, another chunk or fewer chains may work",
    );
  }

  /** A prompt as it is measured; undefined where the original draws again. */
  tryDraw(round: Round, options: { size: number; example?: string }): Draft | undefined {
    const { size, example } = options;
    const draft = this.#draft(round, size);
    if (draft === undefined) return undefined;
    let { text } = draft;
    if (example !== undefined) {
      const cut = text.indexOf(TASK_START);
      text = `${text.slice(0, cut)}${this.#changed(example)}\n${text.slice(cut)}`;
    }
    if (this.#options.removeNewlineTab) text = removeNewlines(text);
    return { ...draft, text };
  }

  /** The example with other names and another value, each replaced wherever its letters occur. */
  #changed(example: string): string {
    let text = example;
    for (const name of splitWords(example).slice(-this.#options.settings.hops - 1)) {
      text = text.replaceAll(name, this.#variables.name(name.length));
    }
    return text.replaceAll(EXAMPLE_VALUE, String(this.#variables.value()));
  }

  #draft(round: Round, size: number): Draft | undefined {
    const { settings, contextTemplate, queryTemplate } = this.#options;
    const value = round.isExample ? EXAMPLE_VALUE : undefined;
    const drawn = this.#variables.drawChains({ ...settings, isExample: round.isExample, value });
    if (drawn === undefined) return undefined;
    const { names, chains } = drawn;
    const text = settings.haystack === "essay"
      ? this.#hideInEssay(chains, size)
      : this.#hideInNoise(chains, size);
    // The example stands without the model's template.
    const template = round.isExample
      ? TEXTS.context + TEXTS.query + TEXTS.answerPrefix
      : contextTemplate + queryTemplate;
    return {
      text: formatFields(template, {
        context: text.replaceAll(". \n", ".\n"),
        query: strip(chains[0]?.[0]?.split("=").at(-1) ?? ""),
        num_v: settings.hops + 1,
      }),
      answers: names,
    };
  }

  #hideInNoise(chains: readonly (readonly string[])[], lines: number): string {
    const sentences = Array.from({ length: lines }, () => NOISE);
    this.#variables.hide(chains, sentences);
    return sentences.join("\n");
  }

  #hideInEssay(chains: readonly (readonly string[])[], words: number): string {
    const { essay, splitSentences } = this.#options.sources;
    invariant(essay !== undefined && splitSentences !== undefined, "essays need their sources");
    const sentences = splitSentences(strip(essay.slice(0, words).join(" ")));
    const links = this.#interleaved(chains);
    const places = this.#variables.random.sample(DEPTHS, links.length)
      .map((depth) => Math.trunc(sentences.length * (depth / 100))).sort((a, b) => a - b);
    const pieces: string[] = [];
    let last = 0;
    for (const [i, place] of places.entries()) {
      pieces.push(sentences.slice(last, place).join(" "), `${strip(links[i] ?? "")}.`);
      last = place;
    }
    pieces.push(sentences.slice(last).join(" "));
    return pieces.join(" ");
  }

  /** All chains as one, each in its own order: the next link is that with the smallest number. */
  #interleaved(chains: readonly (readonly string[])[]): string[] {
    const waiting = chains.map((_, chain) => ({
      number: this.#variables.random.random(),
      chain,
      link: 0,
    }));
    const links: string[] = [];
    while (waiting.length > 0) {
      const next = waiting.reduce((a, b) => b.number < a.number ? b : a);
      const { chain, link } = next;
      links.push(chains[chain]?.[link] ?? "");
      if (link + 1 < (chains[chain]?.length ?? 0)) {
        next.number = this.#variables.random.random();
        next.link++;
      } else {
        waiting.splice(waiting.indexOf(next), 1);
      }
    }
    return links;
  }
}
