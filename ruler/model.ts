/**
 * What RULER's generators are given and what they yield (arXiv 2404.06654; the generators of
 * NVIDIA/Star-Attention, `ruler/data/synthetic`).
 *
 * Everything that could differ between machines enters from outside: the token counter, the words,
 * the essays, the questions.
 *
 * @module
 */

/**
 * Whose generators make the data: those of NVIDIA/Star-Attention (c61059f), or those of NVIDIA/RULER
 * as it is maintained (c3f5e3b of July 2026).
 */
export const GENERATORS = ["pinned", "2026"] as const satisfies readonly Generators[];

/** One of them. */
export type Generators = "pinned" | "2026";

/** How many tokens a text has, without added special tokens; special tokens in it count as one. */
export type CountTokens = (text: string) => number | Promise<number>;

/** Splits a text into sentences. */
export type SplitSentences = (text: string) => string[];

/** One sample of a task. */
export interface RulerSample {
  /** From 0 on in every chunk. */
  readonly index: number;
  /** What is read. */
  readonly context: string;
  /** What is asked about it. */
  readonly query: string;
  /** What the answer should hold. */
  readonly answers: readonly string[];
  /** Tokens of context and query, and those to be generated. */
  readonly length: number;
}

/** The words of keys and word lists, in the order of their files. */
export interface WordLists {
  /** `ruler`: those of RULER; `builtin`: others, whose scores compare with nobody else's. */
  readonly kind: "ruler" | "builtin";
  /** Nouns, in the order of their file. */
  readonly nouns: readonly string[];
  /** Adjectives, likewise. */
  readonly adjectives: readonly string[];
  /** Verbs, likewise. */
  readonly verbs: readonly string[];
  /** Words for lists that are longer than all of these, with the generators of 2026. */
  readonly more?: readonly string[];
}

/** A question and the documents that belong to it, by their numbers. */
export interface Question {
  /** Its text. */
  readonly query: string;
  /** Any of them is right. */
  readonly answers: readonly string[];
  /** The documents that hold an answer, by their numbers. */
  readonly documents: readonly number[];
  /** Documents of the same article, taken before others. */
  readonly related: readonly number[];
}

/** Questions and all documents, sorted. */
export interface QuestionSet {
  /** In the order of the file. */
  readonly questions: readonly Question[];
  /** Texts that questions name by their numbers. */
  readonly documents: readonly string[];
}

/** What a task's data is made of; loaded only if the task needs it. */
export interface TaskSources {
  /** Words of keys and lists. */
  readonly words?: WordLists;
  /** The essays' words; the last is empty if the text ends in white space. */
  readonly essay?: readonly string[];
  /** Cuts essays into sentences. */
  readonly splitSentences?: SplitSentences;
  /** Of the tasks that ask about documents. */
  readonly questions?: QuestionSet;
}

/** What keys and values of needles are made of. */
export type NeedleType = "numbers" | "words" | "uuids";

/** Needles in a haystack (`niah.py`). */
export interface NiahSettings {
  /** Tells the generators apart. */
  readonly generator: "niah";
  /** What the needles lie in: one sentence again and again, essays, or other needles. */
  readonly haystack: "repeat" | "essay" | "needle";
  /** What keys are made of. */
  readonly keyType: NeedleType;
  /** What values are made of. */
  readonly valueType: NeedleType;
  /** How many keys there are. */
  readonly keys: number;
  /** Values per key. */
  readonly values: number;
  /** Keys that are asked for. */
  readonly queries: number;
}

/** Variable tracking (`variable_tracking.py`). */
export interface VariableTrackingSettings {
  /** Tells the generators apart. */
  readonly generator: "variable_tracking";
  /** Chains of assignments. */
  readonly chains: number;
  /** Assignments per chain after the first. */
  readonly hops: number;
  /** Where the assignments lie; essays only with the generators of 2026. @default {"noise"} */
  readonly haystack?: "noise" | "essay";
}

/** Common words (`common_words_extraction.py`). */
export interface CommonWordsSettings {
  /** Tells the generators apart. */
  readonly generator: "common_words_extraction";
  /** How often a common word occurs. */
  readonly commonFrequency: number;
  /** How often another one does. */
  readonly otherFrequency: number;
  /** How many words are common. */
  readonly commonCount: number;
  /** Worked examples in front of the list, with the generators of 2026. @default {1} */
  readonly examples?: number;
}

/** Frequent coded words (`freq_words_extraction.py`). */
export interface FrequentWordsSettings {
  /** Tells the generators apart. */
  readonly generator: "freq_words_extraction";
  /** The exponent of the words' zeta distribution. */
  readonly alpha: number;
  /** Letters of a word, with the generators of 2026. @default {6} */
  readonly wordLetters?: number;
  /** Different words, with the generators of 2026; by default as many as fit the length. */
  readonly vocabularySize?: number;
}

/** Questions about documents (`qa.py`). */
export interface QaSettings {
  /** Tells the generators apart. */
  readonly generator: "qa";
  /** Whose questions are asked. */
  readonly dataset: "squad" | "hotpotqa";
}

/** What a task's generator is set to. */
export type TaskSettings =
  | NiahSettings
  | VariableTrackingSettings
  | CommonWordsSettings
  | FrequentWordsSettings
  | QaSettings;

/** What a generator works with. */
export interface GeneratorOptions<T extends TaskSettings = TaskSettings> {
  /** The task's name, for messages. */
  readonly task: string;
  readonly settings: T;
  /** With the model's template around them; fields in braces. */
  readonly contextTemplate: string;
  readonly queryTemplate: string;
  /** Tokens of a sample and its answer, at most; fwe overshoots. */
  readonly maxTokens: number;
  /** Tokens left for the answer. */
  readonly tokensToGenerate: number;
  readonly sampleCount: number;
  /** Samples of earlier chunks; only qa looks at it. */
  readonly earlierSamples: number;
  readonly seed: number;
  /** Whether line feeds and tabs become spaces; only vt looks at it, for its worked example. */
  readonly removeNewlineTab: boolean;
  readonly countTokens: CountTokens;
  readonly sources: TaskSources;
  /** Called where a haystack ends before the length is reached. */
  readonly onSourceEnd?: (() => void) | undefined;
}
