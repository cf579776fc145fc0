/**
 * Variable tracking (`ruler/data/synthetic/variable_tracking.py` of NVIDIA/Star-Attention): chains
 * of assignments among repeated sentences, behind one worked example.
 *
 * @module
 */
import { UsageError } from "../lib/errors.ts";
import { drawUntilFits, growSize, searchSize } from "./attempts.ts";
import { Variables } from "./chains.ts";
import type { GeneratorOptions, RulerSample, VariableTrackingSettings } from "./model.ts";
import { formatFields, removeNewlines, splitWords } from "./python/strings.ts";
import { listRepr, strip } from "./python/text.ts";
import { TASK_TEMPLATES } from "./templates.ts";

const NOISE =
  "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n";
const TEMPLATE = TASK_TEMPLATES.variable_tracking;
/** The example's length in tokens, and by how many noise lines its search grows. */
const EXAMPLE_TOKENS = 500;
const EXAMPLE_STEP = 5;
const STEP = 10;
/** How the parts of a prompt are found again. */
const CONTEXT_START = TEMPLATE.context.slice(0, 20);
const ANSWER_START = TEMPLATE.answerPrefix.slice(0, 10);
const ANSWER_END = TEMPLATE.answerPrefix.slice(-10);

interface Draft {
  readonly context: string;
  readonly query: string;
  readonly answers: readonly string[];
}

/** One round of the original's generator: the example is made by one of its own. */
interface Round {
  readonly isExample: boolean;
  readonly maxTokens: number;
  readonly step: number;
  /** Tokens of the example in front of each sample. */
  readonly exampleTokens: number;
}

/** The samples of vt, in order. @throws {UsageError} If none fits, or where the original crashes. */
export async function* generateVariableTracking(
  options: GeneratorOptions<VariableTrackingSettings>,
): AsyncGenerator<RulerSample> {
  const { task, maxTokens, sampleCount, countTokens } = options;
  const tracker = new Tracker(options);
  const exampleRound: Round = {
    isExample: true,
    maxTokens: EXAMPLE_TOKENS,
    step: EXAMPLE_STEP,
    exampleTokens: 0,
  };
  const search = (round: Round) =>
    searchSize(() => tracker.findSize(round), { ...round, task: nameOf(task, round) });
  const first = await tracker.draw(exampleRound, {
    size: await search(exampleRound),
    index: 0,
  });
  // The original cleans the example before it is counted, too: the blank between its parts goes.
  const clean = (text: string) => options.removeNewlineTab ? removeNewlines(text) : text;
  const example = `${clean(first.context)}${clean(first.query)} ${first.answers.join(" ")}\n\n`;
  const round: Round = {
    isExample: false,
    maxTokens,
    step: STEP,
    exampleTokens: await countTokens(example),
  };
  const size = await search(round);
  for (let index = 0; index < sampleCount; index++) {
    const sample = await tracker.draw(round, { size, index });
    const { context } = sample;
    const cut = context.indexOf(CONTEXT_START);
    const shown = tracker.randomizeExample(example);
    yield { ...sample, context: `${context.slice(0, cut)} ${shown}\n\n${context.slice(cut)}` };
  }
}

/** What a message calls what is made: the example has a length of its own. */
function nameOf(task: string, round: Round): string {
  return round.isExample ? `${task}'s worked example` : task;
}

class Tracker {
  readonly #options: GeneratorOptions<VariableTrackingSettings>;
  readonly #variables: Variables;

  constructor(options: GeneratorOptions<VariableTrackingSettings>) {
    this.#options = options;
    this.#variables = new Variables(options.seed);
  }

  /** The original's search for the number of noise lines; every try draws. */
  async findSize(round: Round): Promise<number> {
    const { countTokens, task } = this.#options;
    const { step, exampleTokens } = round;
    const countPrompt = async (size: number): Promise<number> => {
      const draft = this.#draft(round, size);
      if (draft === undefined) {
        throw new UsageError(
          `Cannot make samples of ${task} as names drawn for its variables must differ: the ` +
            "original stops here, too; another chunk or fewer chains may work",
        );
      }
      const { context, query, answers } = draft;
      return await countTokens(`${context}${query} ${listRepr(answers)}`);
    };
    const maxTokens = round.maxTokens - exampleTokens;
    return await growSize(countPrompt, { ...this.#options, maxTokens, step });
  }

  /** A sample that fits. The original means to shrink after a failure, but does not: kept. */
  async draw(
    round: Round,
    options: { size: number; index: number },
  ): Promise<RulerSample> {
    const { tokensToGenerate, countTokens, task } = this.#options;
    const { size, index } = options;
    const { maxTokens, step, exampleTokens } = round;
    return await drawUntilFits(async (size) => {
      const draft = this.#draft(round, size);
      if (draft === undefined) return undefined;
      const { context, query, answers } = draft;
      const length = await countTokens(context + query) + tokensToGenerate + exampleTokens;
      return { index, context, query, answers, length };
    }, { task: nameOf(task, round), maxTokens, size, step, shrinks: false });
  }

  /** The example with other names: each of its names is replaced wherever its letters occur. */
  randomizeExample(example: string): string {
    const names = splitWords(example.slice(example.indexOf(ANSWER_END) + ANSWER_END.length));
    let text = example;
    for (const name of names) text = text.replaceAll(name, this.#variables.name(name.length));
    return text;
  }

  /** `undefined` where names repeat. */
  #draft(round: Round, noiseLines: number): Draft | undefined {
    const { settings } = this.#options;
    // The original's search ends there, and its sample loop takes it for a failed draw.
    const drawn = this.#variables.drawChains({ ...settings, isExample: round.isExample });
    if (drawn === undefined) return undefined;
    const { names, chains } = drawn;
    let sentences = Array.from({ length: noiseLines }, () => NOISE);
    let shown = chains;
    const chainLength = chains[0]?.length ?? 0;
    if (sentences.length <= chainLength) {
      sentences = sentences.flatMap((line) => line.split("."))
        .map((part) => strip(part) === "" ? part : `${part}.`);
      if (sentences.length <= chainLength) {
        shown = chains.map((chain) => chain.slice(0, sentences.length - 1));
      }
    }
    this.#variables.hide(shown, sentences);
    const text = sentences.join(" ").replaceAll(". \n", ".\n");
    const { contextTemplate, queryTemplate } = round.isExample
      ? exampleTemplates(this.#options)
      : this.#options;
    const query = strip(shown[0]?.[0]?.split("=").at(-1) ?? "");
    return {
      context: formatFields(contextTemplate, { context: text }),
      query: formatFields(queryTemplate, { query, num_v: settings.hops + 1 }),
      answers: names,
    };
  }
}

/**
 * The example's templates, the model's cut off. The last word before the answer prefix goes with it:
 * kept from the original.
 */
function exampleTemplates(
  options: Pick<GeneratorOptions, "contextTemplate" | "queryTemplate">,
): { contextTemplate: string; queryTemplate: string } {
  const { contextTemplate, queryTemplate } = options;
  if (contextTemplate === TEMPLATE.context) return { contextTemplate, queryTemplate };
  const start = contextTemplate.indexOf(CONTEXT_START);
  const cut = queryTemplate.indexOf(ANSWER_START);
  const question = splitWords(queryTemplate.slice(0, cut)).slice(0, -1).join(" ");
  return {
    contextTemplate: `${splitWords(contextTemplate.slice(start)).join(" ")} `,
    queryTemplate: question + queryTemplate.slice(cut),
  };
}
