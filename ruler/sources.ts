/**
 * The source data of RULER's tasks, from a folder: essays, word lists, questions, and the parameters
 * of the sentence splitter. What a task does not need is not read.
 *
 * @module
 */
import { errorText, FileError } from "../lib/errors.ts";
import { isFile } from "../lib/files.ts";
import { describeValue, isJsonObject, readJsonFile, readTextFile } from "../lib/text_file.ts";
import type {
  Generators,
  QaSettings,
  Question,
  QuestionSet,
  SplitSentences,
  TaskSettings,
  TaskSources,
  WordLists,
} from "./model.ts";
import { loadPunkt, splitSentences } from "./punkt.ts";
import { type JsonValue, parseJsonText } from "./python/json_text.ts";
import { sortedSet, strippedLines } from "./python/strings.ts";
import { SPACE } from "./python/text.ts";

/** A larger file is none of RULER's. */
const MAX_BYTES = 256 * 1024 * 1024;
const ESSAYS = "PaulGrahamEssays.json";
const NOUNS = "nounlist.txt";
const ADJECTIVES = "adjectivelist.txt";
const VERBS = "verblist.txt";
/** Newer RULER's words for lists that are longer than the others. */
const MORE_WORDS = "english_words.json";
const QUESTIONS = { squad: "squad.json", hotpotqa: "hotpotqa.json" } as const;
/** Questions that RULER takes of the official files. */
const OFFICIAL_QUESTIONS = { squad: 5928, hotpotqa: 7405 } as const;
const PUNKT = "punkt_tab/english";
const PUNKT_FILES = [
  "abbrev_types.txt",
  "collocations.tab",
  "ortho_context.tab",
  "sent_starters.txt",
].map((name) => `${PUNKT}/${name}`);

const SPACES = new RegExp(`${SPACE}+`, "g");

/** Where sources come from. */
export interface SourceOptions {
  /** The folder of the source data. */
  readonly folder: string;
  /** Whose generators work with them. @default {"pinned"} */
  readonly generators?: Generators | undefined;
  /** Words for the tasks that need some but not RULER's own; absent if there shall be none. */
  readonly builtinWords?: () => Promise<Pick<WordLists, "nouns" | "adjectives">>;
}

/** The files that a task needs, below the folder; builtin words can stand for the last two. */
function neededFiles(settings: TaskSettings): { required: string[]; words: string[] } {
  switch (settings.generator) {
    case "niah": {
      const { haystack, keyType, valueType } = settings;
      const usesWords = keyType === "words" || valueType === "words";
      return {
        required: haystack === "essay" ? [ESSAYS, ...PUNKT_FILES] : [],
        words: usesWords ? [NOUNS, ADJECTIVES] : [],
      };
    }
    case "variable_tracking":
      return {
        required: settings.haystack === "essay" ? [ESSAYS, ...PUNKT_FILES] : [],
        words: [],
      };
    case "common_words_extraction":
      return { required: [NOUNS, ADJECTIVES, VERBS], words: [] };
    case "qa":
      return { required: [QUESTIONS[settings.dataset]], words: [] };
    default:
      return { required: [], words: [] };
  }
}

/** Whether a task's data is made of files, be they of this folder or builtin words. */
export function needsSources(settings: TaskSettings): boolean {
  const { required, words } = neededFiles(settings);
  return required.length + words.length > 0;
}

/** The file of a task's questions, and how many questions the official one has. */
export function questionFile(settings: QaSettings): { name: string; officialQuestions: number } {
  const { dataset } = settings;
  return { name: QUESTIONS[dataset], officialQuestions: OFFICIAL_QUESTIONS[dataset] };
}

/**
 * The files that a task lacks, below the folder.
 *
 * @returns Their names; none if the task's data can be made.
 */
export async function missingSources(
  settings: TaskSettings,
  options: SourceOptions,
): Promise<string[]> {
  const { required, words } = neededFiles(settings);
  const needed = options.builtinWords === undefined ? [...required, ...words] : required;
  const found = await Promise.all(needed.map((name) => isFile(`${options.folder}/${name}`)));
  return needed.filter((_, i) => !found[i]);
}

/**
 * Reads what a task needs.
 *
 * @throws {FileError} If a file is missing or is not what it should be.
 */
export async function loadSources(
  settings: TaskSettings,
  options: SourceOptions,
): Promise<TaskSources> {
  const { folder } = options;
  if (settings.generator === "qa") {
    return { questions: await loadQuestions(folder, settings.dataset) };
  }
  if (settings.generator === "common_words_extraction") {
    const words = await loadWords(folder, true);
    const hasMore = options.generators === "2026" && await isFile(`${folder}/${MORE_WORDS}`);
    return { words: hasMore ? { ...words, more: await loadMoreWords(folder) } : words };
  }
  if (settings.generator !== "niah" && settings.generator !== "variable_tracking") return {};
  const { words } = neededFiles(settings);
  return {
    ...(words.length === 0 ? {} : { words: await findWords(options) }),
    ...(settings.haystack === "essay"
      ? { essay: await loadEssay(folder), splitSentences: await loadSplitter(folder) }
      : {}),
  };
}

/** The values of an object, in the order of the file. */
async function loadMoreWords(folder: string): Promise<string[]> {
  const path = `${folder}/${MORE_WORDS}`;
  const text = await readTextFile(path, { maxBytes: MAX_BYTES });
  let words: JsonValue[] = [];
  try {
    // JavaScript's own objects bring keys that are numbers into another order.
    const value = parseJsonText(text);
    if (value instanceof Map) words = [...value.values()];
  } catch (error) {
    throw new FileError(`Cannot read ${path}: it is not JSON (${errorText(error)})`, {
      cause: error,
    });
  }
  if (words.length > 0 && words.every((word) => typeof word === "string")) return words;
  throw new FileError(`Cannot use ${path} as it must be an object whose values are words`);
}

async function findWords(options: SourceOptions): Promise<WordLists> {
  const { folder, builtinWords } = options;
  const found = await Promise.all([NOUNS, ADJECTIVES].map((name) => isFile(`${folder}/${name}`)));
  if (builtinWords === undefined || found.every(Boolean)) return await loadWords(folder, false);
  return { kind: "builtin", verbs: [], ...await builtinWords() };
}

async function loadWords(folder: string, withVerbs: boolean): Promise<WordLists> {
  const read = async (name: string): Promise<string[]> =>
    strippedLines(await readTextFile(`${folder}/${name}`, { maxBytes: MAX_BYTES }));
  return {
    kind: "ruler",
    nouns: await read(NOUNS),
    adjectives: await read(ADJECTIVES),
    verbs: withVerbs ? await read(VERBS) : [],
  };
}

async function loadEssay(folder: string): Promise<string[]> {
  const path = `${folder}/${ESSAYS}`;
  const json = await readJsonFile(path, { maxBytes: MAX_BYTES });
  if (!isJsonObject(json) || typeof json["text"] !== "string") {
    throw new FileError(`Cannot use ${path} as it must have a text: 'text' is missing`);
  }
  return json["text"].replace(SPACES, " ").split(" ");
}

/**
 * RULER's essays as one text with single spaces, for whoever needs natural text.
 *
 * @returns Undefined where they are not in the folder.
 * @throws {FileError} If the file is damaged.
 */
export async function readEssay(folder: string): Promise<string | undefined> {
  return await isFile(`${folder}/${ESSAYS}`) ? (await loadEssay(folder)).join(" ") : undefined;
}

async function loadSplitter(folder: string): Promise<SplitSentences> {
  const [abbrevTypes = "", collocations = "", orthoContext = "", sentStarters = ""] = await Promise
    .all(PUNKT_FILES.map((name) => readTextFile(`${folder}/${name}`, { maxBytes: MAX_BYTES })));
  const punkt = loadPunkt({ abbrevTypes, collocations, orthoContext, sentStarters });
  return (text) => splitSentences(punkt, text);
}

async function loadQuestions(
  folder: string,
  dataset: keyof typeof QUESTIONS,
): Promise<QuestionSet> {
  const path = `${folder}/${QUESTIONS[dataset]}`;
  const json = await readJsonFile(path, { maxBytes: MAX_BYTES });
  try {
    return dataset === "squad" ? readSquad(json as Squad) : readHotpotqa(json as Hotpotqa);
  } catch (error) {
    // A part that is missing shows as a language's error where it is used.
    if (!(error instanceof TypeError)) throw error;
    throw new FileError(
      `Cannot use ${path} as it must be a file of ${dataset}: ${errorText(error)}`,
      { cause: error },
    );
  }
}

/** @throws {TypeError} If what a file should have as text is none. */
function checkText(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${name} must be a text: current value is ${describeValue(value)}`);
}

/** What is read of SQuAD 2.0's file. */
interface Squad {
  readonly data: readonly {
    readonly paragraphs: readonly {
      readonly context: string;
      readonly qas: readonly {
        readonly question: string;
        readonly is_impossible: boolean;
        readonly answers: readonly { readonly text: string }[];
      }[];
    }[];
  }[];
}

/** Every answerable question; related are the article's other paragraphs. */
function readSquad(json: Squad): QuestionSet {
  const documents = sortedSet(
    json.data.flatMap(({ paragraphs }) =>
      paragraphs.map(({ context }) => checkText(context, "a paragraph"))
    ),
  );
  const numbers = new Map(documents.map((document, i) => [document, i]));
  const questions: Question[] = [];
  for (const { paragraphs } of json.data) {
    const article = paragraphs.map(({ context }) => numbers.get(context) ?? 0);
    for (const { context, qas } of paragraphs) {
      const own = numbers.get(context) ?? 0;
      const related = article.filter((number) => number !== own);
      for (const { question: query, is_impossible: isImpossible, answers } of qas) {
        if (isImpossible) continue;
        const texts = answers.map(({ text }) => checkText(text, "an answer"));
        checkText(query, "a question");
        questions.push({ query, answers: texts, documents: [own], related });
      }
    }
  }
  return { questions, documents };
}

/** What is read of HotpotQA's distractor file: titles with their sentences. */
type Hotpotqa = readonly {
  readonly question: string;
  readonly answer: string;
  readonly context: readonly (readonly [string, readonly string[]])[];
}[];

function readHotpotqa(json: Hotpotqa): QuestionSet {
  const texts = json.map(({ context }) =>
    context.map(([title, sentences]) => {
      const texts = sentences.map((sentence) => checkText(sentence, "a sentence"));
      return `${checkText(title, "a title")}\n${texts.join("")}`;
    })
  );
  const documents = sortedSet(texts.flat());
  const numbers = new Map(documents.map((document, i) => [document, i]));
  const questions = json.map(({ question: query, answer }, i): Question => ({
    query: checkText(query, "a question"),
    answers: [checkText(answer, "an answer")],
    documents: (texts[i] ?? []).map((text) => numbers.get(text) ?? 0),
    related: [],
  }));
  return { questions, documents };
}
