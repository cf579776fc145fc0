/**
 * Punkt's sentence splitting (Kiss and Strunk, 2006) with trained parameters, as NLTK 3.8 and 3.9 do
 * it in `nltk/tokenize/punkt.py`; section numbers in comments are the paper's.
 *
 * @module
 */
import { SPACE } from "./python/text.ts";

/** Trained parameters of one language. */
export interface Punkt {
  /** Lower-case abbreviations without their last period. */
  readonly abbreviations: ReadonlySet<string>;
  /** Pairs that a period between them does not separate, joined by a tab. */
  readonly collocations: ReadonlySet<string>;
  /** Lower-case words that often start a sentence. */
  readonly sentenceStarters: ReadonlySet<string>;
  /** Flags by lower-case word: where and in which case it was seen. */
  readonly orthography: ReadonlyMap<string, number>;
}

/** The texts of the four files of `punkt_tab/english`. */
export interface PunktFiles {
  /** `abbrev_types.txt` */
  readonly abbrevTypes: string;
  /** `collocations.tab` */
  readonly collocations: string;
  /** `sent_starters.txt` */
  readonly sentStarters: string;
  /** `ortho_context.tab` */
  readonly orthoContext: string;
}

/** A word was seen at the start of a sentence, inside one, or somewhere; in upper or lower case. */
const MIDDLE_UPPER = 1 << 2;
const ANY_UPPER = 1 << 1 | 1 << 2 | 1 << 3;
const START_LOWER = 1 << 4;
const ANY_LOWER = 1 << 4 | 1 << 5 | 1 << 6;

const NUMBER = "##number##";
const PUNCTUATION: ReadonlySet<string> = new Set([";", ":", ",", ".", "!", "?"]);
const SENTENCE_ENDS: ReadonlySet<string> = new Set([".", "?", "!"]);

const NO_SPACE = SPACE.replace("[", "[^");
/** Not inside words: the sentence ends but the period, brackets, quotes and some signs. */
const NON_WORD = "[)\";}\\]*:@'({\\[?!]";
const WORD_START = '[^("`{\\[:;&#*@)}\\]\\-,]';
/** Dashes and ellipses. */
const MULTIPLE = `(?:-{2,}|\\.{2,}|(?:\\.${SPACE}){2,}\\.)`;
const WORD_END = `(?:${SPACE}|$|${NON_WORD}|${MULTIPLE}|,(?=$|${SPACE}|${NON_WORD}|${MULTIPLE}))`;

/** `matchAll()` copies a pattern, so these stay as they are. */
const WORD = new RegExp(
  `${MULTIPLE}|(?=${WORD_START})${NO_SPACE}+?(?=${WORD_END})|${NO_SPACE}`,
  "gu",
);
const POSSIBLE_END = new RegExp(`[.?!](?=(${NON_WORD})|(${SPACE}+)(${NO_SPACE}+))`, "gu");
const CLOSING = new RegExp(`^["')\\]}]+?(?:${SPACE}+|(?=--)|$)`, "u");
const TRAILING_SPACES = new RegExp(`${SPACE}+$`, "u");
const ONLY_SPACE = new RegExp(`^${SPACE}*$`, "u");
const ANY_SPACE = new RegExp(SPACE, "u");
const ELLIPSIS = /^\.\.+$/u;
const NUMERIC = /^-?[.,]?\p{Nd}[\p{Nd},.-]*\.?$/u;
/** Python's `[^\W\d]` takes letters, numbers that are no decimal digits, and the underscore. */
const INITIAL = /^[\p{L}\p{Nl}\p{No}_]\.$/u;
const UPPER_FIRST = /^\p{Uppercase}/u;
const LOWER_FIRST = /^\p{Lowercase}/u;

/**
 * Reads Punkt's parameters.
 *
 * @param files The texts of the published files.
 * @throws {SyntaxError} If a line has not the form of its file.
 */
export function loadPunkt(files: PunktFiles): Punkt {
  const orthography = new Map<string, number>();
  for (const line of lines(files.orthoContext)) {
    const [, word, flags] = /^([^\t]+)\t(\d+)$/.exec(line) ?? [];
    if (word === undefined || flags === undefined) {
      throw lineError("ortho_context.tab", { line, form: "a word, a tab and a number" });
    }
    orthography.set(word, Number(flags));
  }
  const collocations = lines(files.collocations);
  for (const line of collocations) {
    if (!/^[^\t]+\t[^\t]+$/.test(line)) {
      throw lineError("collocations.tab", { line, form: "two words with a tab between them" });
    }
  }
  return {
    abbreviations: new Set(lines(files.abbrevTypes)),
    collocations: new Set(collocations),
    sentenceStarters: new Set(lines(files.sentStarters)),
    orthography,
  };
}

/** Spaces at the end of a line stay: the abbreviation ". . " is one of the published. */
function lines(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line !== "");
}

function lineError(file: string, options: { line: string; form: string }): SyntaxError {
  const line = JSON.stringify(options.line.slice(0, 80));
  return new SyntaxError(
    `Cannot load Punkt's ${file} as each line must be ${options.form}: found ${line}`,
  );
}

/**
 * Splits a text into sentences.
 *
 * @param punkt The language's parameters.
 * @param text Any text.
 * @returns What NLTK's `sent_tokenize(text)` returns; the space between sentences is dropped.
 */
export function splitSentences(punkt: Punkt, text: string): string[] {
  return realigned(text, sentenceSpans(punkt, text));
}

/** A place where a sentence may end, and the words around it. */
interface PossibleEnd {
  /** Behind the period. */
  readonly end: number;
  /** Where the next sentence would start. */
  readonly next: number;
  /** The word before, the period, and what follows it. */
  readonly context: string;
  /** Where the word before starts. */
  readonly wordStart: number;
}

/** Start and end of each sentence, before closing quotes and brackets are moved. */
function sentenceSpans(punkt: Punkt, text: string): [number, number][] {
  const spans: [number, number][] = [];
  let start = 0;
  const decide = (candidate: PossibleEnd) => {
    if (!containsBreak(punkt, candidate.context)) return;
    spans.push([start, candidate.end]);
    start = candidate.next;
  };
  let previous: PossibleEnd | undefined;
  for (const match of text.matchAll(POSSIBLE_END)) {
    const candidate = possibleEnd(text, { match, previous });
    // Of several marks behind one word ("acting!!!") only the last is a candidate.
    if (previous !== undefined && previous.end - 1 <= candidate.wordStart) decide(previous);
    previous = candidate;
  }
  if (previous !== undefined) decide(previous);
  let end = text.length;
  while (end > 0 && ANY_SPACE.test(text.charAt(end - 1))) end--;
  spans.push([start, end]);
  return spans;
}

function possibleEnd(
  text: string,
  options: { match: RegExpExecArray; previous: PossibleEnd | undefined },
): PossibleEnd {
  const { match, previous } = options;
  const [, punctuation, space = "", word = ""] = match;
  const end = match.index + 1;
  const searchStart = previous === undefined ? 0 : previous.end - 1;
  let index = match.index - 1;
  while (index > searchStart && !isAsciiSpace(text.charCodeAt(index))) index--;
  // The original takes a space at the very start of the searched range for none.
  const wordStart = index > searchStart ? index + 1 : previous?.wordStart ?? 0;
  return {
    end,
    next: punctuation === undefined ? end + space.length : end,
    context: text.slice(wordStart, end) + (punctuation ?? space + word),
    wordStart,
  };
}

function isAsciiSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

/** Moves quotes and brackets at the start of a sentence to the end of the one before. */
function realigned(text: string, spans: readonly [number, number][]): string[] {
  const sentences: string[] = [];
  let moved = 0;
  for (const [index, [spanStart, end]] of spans.entries()) {
    const start = spanStart + moved;
    const next = spans[index + 1];
    const closing = next === undefined ? undefined : CLOSING.exec(text.slice(...next))?.[0];
    if (next !== undefined && closing !== undefined) {
      sentences.push(text.slice(start, next[0] + closing.replace(TRAILING_SPACES, "").length));
      moved = closing.length;
      continue;
    }
    moved = 0;
    const sentence = text.slice(start, end);
    if (sentence !== "") sentences.push(sentence);
  }
  return sentences;
}

/** A word with what is decided about it. */
interface Token {
  readonly text: string;
  /** Lower case, or `##number##`. */
  readonly type: string;
  abbreviation: boolean;
  ellipsis: boolean;
  ends: boolean;
}

/** Whether a sentence ends in a context before its last word. */
function containsBreak(punkt: Punkt, context: string): boolean {
  const tokens: Token[] = [];
  for (const line of context.split("\n")) {
    if (ONLY_SPACE.test(line)) continue;
    for (const [word] of line.matchAll(WORD)) tokens.push(classify(punkt, word));
  }
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1];
    if (next === undefined) return false;
    reclassify(punkt, { token, next });
    if (token.ends) return true;
  }
  return false;
}

/** Section 3: decides by the word alone. */
function classify(punkt: Punkt, text: string): Token {
  const lower = text.toLowerCase();
  const token: Token = {
    text,
    type: NUMERIC.test(lower) ? NUMBER : lower,
    abbreviation: false,
    ellipsis: false,
    ends: false,
  };
  if (SENTENCE_ENDS.has(text)) {
    token.ends = true;
  } else if (ELLIPSIS.test(text)) {
    token.ellipsis = true;
  } else if (text.endsWith(".") && !text.endsWith("..")) {
    const word = text.slice(0, -1).toLowerCase();
    const lastPart = word.slice(word.lastIndexOf("-") + 1);
    token.abbreviation = punkt.abbreviations.has(word) || punkt.abbreviations.has(lastPart);
    token.ends = !token.abbreviation;
  }
  return token;
}

/** Section 4: decides again with the next word known. */
function reclassify(punkt: Punkt, pair: { token: Token; next: Token }): void {
  const { token, next } = pair;
  if (!token.text.endsWith(".")) return;
  const type = withoutPeriod(token.type);
  const nextType = next.ends ? withoutPeriod(next.type) : next.type;
  const isInitial = INITIAL.test(token.text);

  // 4.1.2: the two words are known to belong together.
  if (punkt.collocations.has(`${type}\t${nextType}`)) {
    token.ends = false;
    token.abbreviation = true;
    return;
  }
  // 4.2: an abbreviation or an ellipsis may end a sentence too.
  if ((token.abbreviation || token.ellipsis) && !isInitial) {
    const starts = startsSentence(punkt, { token: next, type: nextType }) === true;
    // 4.1.3: the next word is capitalized, and often starts sentences.
    if (starts || (UPPER_FIRST.test(next.text) && punkt.sentenceStarters.has(nextType))) {
      token.ends = true;
      return;
    }
  }
  // 4.3: an initial or a number may be an abbreviation after all.
  if (!isInitial && type !== NUMBER) return;
  const starts = startsSentence(punkt, { token: next, type: nextType });
  const alwaysUpper = isInitial && UPPER_FIRST.test(next.text) &&
    ((punkt.orthography.get(nextType) ?? 0) & ANY_LOWER) === 0;
  if (starts === false || (starts === undefined && alwaysUpper)) {
    token.ends = false;
    token.abbreviation = true;
  }
}

/**
 * Section 4.1.1: whether a word starts a sentence, by the cases in which it was seen.
 *
 * @returns `undefined` if that says nothing.
 */
function startsSentence(
  punkt: Punkt,
  options: { token: Token; type: string },
): boolean | undefined {
  const { token: { text }, type } = options;
  if (PUNCTUATION.has(text)) return false;
  const seen = punkt.orthography.get(type) ?? 0;
  if (UPPER_FIRST.test(text) && (seen & ANY_LOWER) !== 0 && (seen & MIDDLE_UPPER) === 0) {
    return true;
  }
  if (LOWER_FIRST.test(text) && ((seen & ANY_UPPER) !== 0 || (seen & START_LOWER) === 0)) {
    return false;
  }
  return undefined;
}

function withoutPeriod(type: string): string {
  return type.length > 1 && type.endsWith(".") ? type.slice(0, -1) : type;
}
