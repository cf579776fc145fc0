/**
 * Which prompt template `-pc` means: one of the table, the model's own, or a file.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { UsageError } from "../../lib/errors.ts";
import { readChatTemplate, type TemplateValues } from "../../lib/model/chat_template.ts";
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";
import { describeValue, isJsonObject, readJsonFile, readTextFile } from "../../lib/text_file.ts";
import { MODEL_TEMPLATES, type ModelTemplate } from "../../ruler/templates.ts";

const FIELD = "{task_template}";
const MAX_BYTES = 2 ** 20;
/** The model's own template; behind a colon, values that it asks for: `chat:enable_thinking=false`. */
const CHAT = "chat";
const CHAT_VALUES = `${CHAT}:`;

/** A template, and how it is called in records and titles. */
export interface ChosenTemplate extends ModelTemplate {
  readonly name: string;
}

/**
 * Checks the name of a template before anything is loaded.
 *
 * @param name A name of the table, `chat`, also with values, or a path, which has a slash or a period.
 * @param flag The flag that gave it, for the message.
 * @throws {UsageError} If it is none of them.
 */
export function checkTemplateName(name: string, flag: string): void {
  if (name.startsWith(CHAT_VALUES)) return void chatValues(name, flag);
  if (Object.hasOwn(MODEL_TEMPLATES, name) || name === CHAT || /[./]/.test(name)) return;
  throw new UsageError(
    `${flag}: must be one of ${Object.keys(MODEL_TEMPLATES).join(", ")}, ${CHAT}, or a file (a ` +
      `path with a slash or an ending): current value is '${name}'`,
  );
}

/**
 * Finds a template.
 *
 * @param name As {@linkcode checkTemplateName}.
 * @param options The model's folder and tokenizer, for its own template; the flag, for messages.
 * @throws {UsageError} If there is none of that name, or its text has no place for the task.
 * @throws {FileError} If a file cannot be read, or the model has no template.
 */
export async function chooseTemplate(
  name: string,
  options: { folder: string; tokenizer: TextTokenizer; flag: string },
): Promise<ChosenTemplate> {
  const { folder, tokenizer, flag } = options;
  checkTemplateName(name, flag);
  const known = Object.hasOwn(MODEL_TEMPLATES, name) ? MODEL_TEMPLATES[name] : undefined;
  if (known !== undefined) return { ...known, name };
  const isOwn = name === CHAT || name.startsWith(CHAT_VALUES);
  if (!isOwn) return named(name, await readTemplateFile(name, flag), flag);
  const values = name === CHAT ? {} : chatValues(name, flag);
  const { before, after, endTokens, endIds } = await readChatTemplate(folder, values);
  const stopWords = [...endTokens];
  for (const id of endIds) stopWords.push(await tokenizer.decode([id]));
  return named(name, { before, after, stopWords: [...new Set(stopWords)] }, flag);
}

/** The values behind `chat:`, as JSON, or as texts where they are none. */
function chatValues(name: string, flag: string): TemplateValues {
  const pairs = name.slice(CHAT_VALUES.length).split(",").map((pair) => {
    const [, key, value] = /^(\w+)=(.*)$/s.exec(pair) ?? [];
    if (key !== undefined && value !== undefined) return [key, jsonOr(value)] as const;
    throw new UsageError(
      `${flag}: must have NAME=VALUE, with commas between several, behind '${CHAT_VALUES}': ` +
        `current value is '${name}'`,
    );
  });
  return Object.fromEntries(pairs);
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Adds a digest to the name: the text may be another one tomorrow. */
function named(name: string, template: ModelTemplate, flag: string): ChosenTemplate {
  const { before, after, stopWords } = template;
  const [field] = /\{\w+\}/.exec(before + after) ?? [];
  if (field !== undefined) {
    throw new UsageError(
      `${flag}: must have no other field than ${FIELD}: current value has ${field} (${name})`,
    );
  }
  const digest = createHash("sha256").update(JSON.stringify([before, after, stopWords]));
  return { ...template, name: `${name} (${digest.digest("hex").slice(0, 16)})` };
}

async function readTemplateFile(path: string, flag: string): Promise<ModelTemplate> {
  const refuse = (rule: string, found: string) =>
    new UsageError(`${flag}: ${rule}: current value is ${found} (${path})`);
  let text: unknown;
  let words: unknown = [];
  if (path.endsWith(".json")) {
    const value = await readJsonFile(path, { maxBytes: MAX_BYTES });
    ({ template: text, stop_words: words = [] } = isJsonObject(value) ? value : {});
  } else text = await readTextFile(path, { maxBytes: MAX_BYTES });
  if (typeof text !== "string") throw refuse("'template' must be a text", describeValue(text));
  if (!Array.isArray(words) || !words.every((word) => typeof word === "string")) {
    throw refuse("'stop_words' must be an array of texts", describeValue(words));
  }
  const [before, after, ...more] = text.split(FIELD);
  if (before === undefined || after === undefined || more.length > 0) {
    throw refuse(`the text must have ${FIELD} once`, `${text.split(FIELD).length - 1} times`);
  }
  return { before, after, stopWords: words };
}

/** What looks like a special token in a template. */
const SPECIAL = /<\|[^<>|\s]+\|>|<\/?[A-Za-z_]+>|\[\/?INST\]/g;

/**
 * What is odd about a template for a model: special tokens that its tokenizer does not know, which
 * fall into pieces, or no template for a model that has one of its own.
 *
 * @returns A line for people; undefined if nothing is.
 */
export async function templateWarning(
  template: ChosenTemplate,
  options: { folder: string; tokenizer: TextTokenizer },
): Promise<string | undefined> {
  const { folder, tokenizer } = options;
  const { before, after, name } = template;
  const unknown: string[] = [];
  for (const token of new Set((before + after).match(SPECIAL) ?? [])) {
    if (await tokenizer.count(token) > 1) unknown.push(token);
  }
  if (unknown.length > 0) {
    return `warning: the tokenizer does not know ${unknown.join(" ")} of the template '${name}', ` +
      "which fall into pieces: is it this model's?";
  }
  if (name !== "base") return undefined;
  const hasOwn = await readChatTemplate(folder).then(() => true, () => false);
  return hasOwn
    ? "warning: the model has a chat template of its own, and the template 'base' adds none: " +
      "'chat' takes it"
    : undefined;
}
