/**
 * What a bench prefills: natural text, as selection takes another share of random tokens.
 *
 * @module
 */
import { dataFolder } from "../../lib/data_folder.ts";
import { builtinWords } from "../../lib/deps/words.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { hasTokenizer, tokenizerPath } from "../../lib/model/model_paths.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { PythonRandom } from "../../ruler/python/random.ts";
import { readEssay } from "../../ruler/sources.ts";
import type { BenchOptions } from "./options.ts";

/** The tokens of all runs. */
export interface BenchText {
  /** What they are, for people. */
  readonly name: string;
  /** As many as were asked for. */
  readonly ids: Int32Array;
}

/** So many characters are tokenized first for each token that is needed. */
const CHARS_PER_TOKEN = 6;
/** RULER's own, so that the sentences are the same in every run. */
const SEED = 42;

/**
 * The text that is prefilled: RULER's essays, or sentences as in its niah_multikey_2 where the essays
 * are not on this machine. A text that is too short is repeated.
 *
 * @param count How many tokens are needed.
 * @returns Undefined where random tokens are to be taken.
 * @throws {UsageError} If text is asked for and there is no tokenizer.
 * @throws {FileError} If the tokenizer is damaged, or has ids that the model has no row for.
 */
export async function benchText(
  options: BenchOptions,
  model: { count: number; vocabularySize: number },
): Promise<BenchText | undefined> {
  const { model: asked, prompt } = options;
  if (prompt === "random") return undefined;
  const folder = asked.kind === "folder" ? asked.folder : undefined;
  if (folder === undefined || !(await hasTokenizer(folder))) {
    if (prompt === undefined) return undefined;
    throw new UsageError(
      "--prompt: must be random without a model's tokenizer: current value is 'text'",
    );
  }
  const { name, textOf } = await textSource(options);
  using tokenizer = await openTokenizerThread(folder);
  const found = await tokenizer.encode(textOf(model.count * CHARS_PER_TOKEN));
  const tooLarge = found.find((id) => id >= model.vocabularySize);
  if (tooLarge !== undefined) {
    throw new FileError(
      `Cannot use ${await tokenizerPath(folder)} as ids must be below the model's vocab_size, ` +
        `which is ${model.vocabularySize}: found ${tooLarge}`,
    );
  }
  return { name, ids: repeated(found, model.count) };
}

/** A name, and what gives so many characters of a text, or all that it has. */
interface TextSource {
  readonly name: string;
  readonly textOf: (chars: number) => string;
}

async function textSource(options: BenchOptions): Promise<TextSource> {
  const folder = essayFolder(options.sourceDir);
  const essay = folder === undefined ? undefined : await readEssay(folder);
  if (essay !== undefined) {
    return { name: "RULER's essays", textOf: (chars) => essay.slice(0, chars) };
  }
  const { adjectives, nouns } = await builtinWords();
  const random = new PythonRandom(SEED);
  const word = (words: readonly string[]) => words[random.choiceIndex(words.length)] ?? "";
  const textOf = (chars: number): string => {
    let text = "";
    while (text.length < chars) {
      text += `One of the special magic numbers for ${word(adjectives)}-${word(nouns)} is: ` +
        `${random.randint(1000000, 9999999)}.\n`;
    }
    return text;
  };
  return { name: "sentences as in RULER's niah_multikey_2", textOf };
}

/** Undefined where nothing tells a folder. */
function essayFolder(sourceDir: string | undefined): string | undefined {
  try {
    return dataFolder(sourceDir);
  } catch (error) {
    if (sourceDir !== undefined || !(error instanceof UsageError)) throw error;
    return undefined;
  }
}

function repeated(ids: Int32Array, count: number): Int32Array {
  const all = new Int32Array(count);
  for (let at = 0; at < count && ids.length > 0; at += ids.length) {
    all.set(ids.subarray(0, count - at), at);
  }
  return all;
}
