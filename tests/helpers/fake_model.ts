/**
 * A model that answers without computing, and a screen that keeps what is written to it.
 *
 * @module
 */
import type { Cleanup, LoadModel } from "../../commands/shared/model_session.ts";
import type { Screen } from "../../commands/shared/screen.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { readConfig } from "../../lib/model/config.ts";
import type { Generation } from "../../lib/engine/load_model.ts";
import type { GenerateOptions, Prompt } from "../../lib/engine/model_options.ts";

/** A prompt of texts. */
export interface TextPrompt extends Prompt {
  readonly context: string;
  readonly query: string;
}

/** What happened to fake models. */
export interface FakeModels {
  readonly load: LoadModel;
  /** The number of processes of each load. */
  readonly loads: number[];
  /** What each was asked. */
  readonly asked: { prompt: TextPrompt; options: GenerateOptions }[];
  /** How many are loaded now. */
  openCount: number;
}

/**
 * Models whose answers `answer` gives; it may throw.
 *
 * @param answer Gets the prompt and how many were asked before it.
 */
export function fakeModels(answer: (prompt: TextPrompt, index: number) => string): FakeModels {
  const fake: FakeModels = {
    loads: [],
    asked: [],
    openCount: 0,
    load: async (folder, { processCount = 1, batchSize = 1 } = {}) => {
      fake.loads.push(processCount);
      fake.openCount++;
      const tokenizer = await loadTokenizer(folder);
      const textOf = (part: string | Int32Array) =>
        typeof part === "string" ? part : tokenizer.decode([...part]);
      return {
        config: await readConfig(folder),
        tokenizer,
        processCount,
        batchSize: batchSize === "auto" ? 4 : batchSize,
        deviceDescription: "a fake",
        generate: (given, options = {}) => {
          const prompt = {
            ...given,
            context: textOf(given.context),
            query: textOf(given.query),
          };
          fake.asked.push({ prompt, options });
          return Promise.resolve(generationOf(answer(prompt, fake.asked.length - 1)));
        },
        score: () => Promise.reject(new TypeError("A fake scores nothing")),
        [Symbol.asyncDispose]: () => {
          fake.openCount--;
          return Promise.resolve();
        },
      };
    },
  };
  return fake;
}

function generationOf(text: string): Generation {
  const topLogits = [[5, 1.5], [3, -2]] as const;
  return {
    text,
    ids: [5, 6],
    topLogits,
    contextTokens: 10,
    queryTokens: 2,
    seconds: 0.5,
    result: {
      ids: [5, 6],
      topLogits,
      selectedTiles: [[1, 4], [2, 4]],
      headShares: [[0.25, 0.25], [0.5, 0.5]],
      masks: [],
      ranks: [],
    },
  };
}

/** A screen that is no terminal, and what was written to it. */
export function fakeScreen(): Screen & { readonly printed: string[]; readonly logged: string[] } {
  const printed: string[] = [];
  const logged: string[] = [];
  return {
    printed,
    logged,
    isTerminal: false,
    print: (text) => void printed.push(text),
    log: (line) => void logged.push(line),
    bar: () => {},
  };
}

/** A process that nobody interrupts. */
export const NO_INTERRUPTS: Cleanup = { onInterrupt: () => ({ [Symbol.dispose]: () => {} }) };
