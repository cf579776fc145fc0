/**
 * A model's own chat template, as transformers keeps it: `chat_template.jinja`, or `chat_template`
 * in `tokenizer_config.json`, or in its GGUF file; rendered for one message of a user.
 *
 * @module
 */
import { join } from "node:path";
import { renderJinja } from "../deps/jinja.ts";
import { errorText, FileError } from "../errors.ts";
import { isFile } from "../files.ts";
import {
  describeValue,
  isJsonObject,
  readJsonFile,
  readTextFile,
  refuseLfsPointer,
} from "../text_file.ts";
import { type ChatSource, readGgufChat, TEMPLATE_KEY } from "./gguf/chat.ts";
import { isGgufPath } from "./gguf/files.ts";
import { generationEndIds } from "./token_ids.ts";

const CONFIG_FILE = "tokenizer_config.json";
const TEMPLATE_FILE = "chat_template.jinja";
const MAX_BYTES = 16 * 2 ** 20;
/** Stands for the message while the template is rendered; no template looks at such letters. */
const MESSAGE = "STARX7MESSAGE7STARX";

/** transformers gives templates these as none: `is defined` and `is not none` tell the difference. */
const ABSENT = { tools: null, documents: null } as const;

/**
 * The day in prompts of benchmarks, where a template names one: that of Llama 3's own, where it is told
 * none. With the present one the same command would have other prompts tomorrow.
 */
const BENCHMARK_DAY = new Date(2024, 6, 26);

/** What stands around a user's message. */
export interface ChatTemplate {
  readonly before: string;
  readonly after: string;
  /** The tokens that end an answer, as texts. */
  readonly endTokens: readonly string[];
  /** Ids of further tokens that end an answer. */
  readonly endIds: readonly number[];
}

/** A message of a conversation, and whatever else the template may ask it for. */
export interface ChatMessage extends TemplateValues {
  readonly role: string;
  readonly content: string;
}

/** Values of a template by their names, as in JSON. */
export interface TemplateValues {
  readonly [name: string]: unknown;
}

/** A model's chat template, to be rendered for conversations. */
export interface ChatRenderer extends Pick<ChatTemplate, "endTokens" | "endIds"> {
  /** Where it stands. */
  readonly path: string;
  /**
   * The prompt of a conversation, up to where the answer begins.
   *
   * @param values What the template may ask for besides, as Qwen 3's for `enable_thinking`.
   * @throws {FileError} If the template cannot render it; the template itself may refuse messages.
   */
  render(messages: readonly ChatMessage[], values?: TemplateValues): Promise<string>;
}

/**
 * Reads the chat template of a model.
 *
 * @throws {FileError} As {@linkcode findChatTemplate}, and if the model has none.
 */
export async function openChatTemplate(
  folder: string,
  options: { now?: Date } = {},
): Promise<ChatRenderer> {
  const found = await findChatTemplate(folder, options);
  if (found !== undefined) return found;
  const rule = isGgufPath(folder)
    ? `it has no '${TEMPLATE_KEY}'`
    : `it must have ${TEMPLATE_FILE}, or a text 'chat_template' in ${CONFIG_FILE}, of several one that is named default: found none`;
  throw new FileError(`Cannot use a chat template of ${folder} as ${rule}`);
}

/**
 * Reads the chat template of a model, if it has one.
 *
 * @param folder The model's folder, or a GGUF file.
 * @param options `now`: the day that the template may name; by default the present one.
 * @returns `undefined` if the model has none.
 * @throws {FileError} If its files are damaged, or a template is no text.
 */
export async function findChatTemplate(
  folder: string,
  options: { now?: Date } = {},
): Promise<ChatRenderer | undefined> {
  const chat = isGgufPath(folder) ? await readGgufChat(folder) : await readFolder(folder);
  if (chat === undefined) return undefined;
  const { source, path, tokens, endIds } = chat;
  const { eos_token: end } = tokens;
  return {
    path,
    endTokens: end === undefined ? [] : [end],
    endIds,
    render: async (messages, values = {}) => {
      try {
        const all = { ...tokens, ...ABSENT, ...values, messages, add_generation_prompt: true };
        return await renderJinja(source, all, options);
      } catch (error) {
        throw new FileError(`Cannot use the chat template in ${path}: ${errorText(error)}`, {
          cause: error,
        });
      }
    },
  };
}

async function readFolder(folder: string): Promise<ChatSource | undefined> {
  const config = await readObject(join(folder, CONFIG_FILE));
  const found = await findSource(folder, config);
  if (found === undefined) return undefined;
  const endIds = await generationEndIds(folder, { vocabularySize: Infinity, warnings: [] });
  return { ...found, tokens: specialTokens(config), endIds };
}

/**
 * Reads and renders the chat template of a model.
 *
 * @param folder The model's folder.
 * @param values As of `render()`.
 * @throws {FileError} If the model has none, or it does not show the message once, as it is.
 */
export async function readChatTemplate(
  folder: string,
  values: TemplateValues = {},
): Promise<ChatTemplate> {
  const chat = await openChatTemplate(folder, { now: BENCHMARK_DAY });
  const { path, render, endTokens, endIds } = chat;
  const text = await render([{ role: "user", content: MESSAGE }], values);
  const [before, after, ...more] = text.split(MESSAGE);
  if (before === undefined || after === undefined || more.length > 0) {
    throw new FileError(
      `Cannot use the chat template in ${path} as it must show a user's message once: ` +
        `found ${text.split(MESSAGE).length - 1} times`,
    );
  }
  return { before, after, endTokens, endIds };
}

/** The template that transformers takes: the file comes first. */
async function findSource(
  folder: string,
  config: Record<string, unknown>,
): Promise<{ source: string; path: string } | undefined> {
  const file = join(folder, TEMPLATE_FILE);
  if (await isFile(file)) {
    const source = await readTextFile(file, { maxBytes: MAX_BYTES });
    refuseLfsPointer(source, file);
    return { source, path: file };
  }
  const path = join(folder, CONFIG_FILE);
  const { chat_template: value } = config;
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return { source: value, path };
  if (Array.isArray(value)) {
    // Several, by their names.
    const entry = value.find((entry) => isJsonObject(entry) && entry.name === "default");
    if (entry === undefined) return undefined;
    if (typeof entry.template === "string") return { source: entry.template, path };
  }
  throw new FileError(
    `Cannot use a chat template of ${folder} as 'chat_template' in ${CONFIG_FILE} must be a text, ` +
      `or texts by their names: found ${describeValue(value)}`,
  );
}

/** `bos_token`, `eos_token` and the like: texts, or objects with their text. */
function specialTokens(config: Record<string, unknown>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [name, value] of Object.entries(config)) {
    if (!name.endsWith("_token")) continue;
    const text = isJsonObject(value) ? value.content : value;
    if (typeof text === "string") tokens[name] = text;
  }
  return tokens;
}

/** A JSON object; an empty one if the file is missing or holds something else. */
async function readObject(path: string): Promise<Record<string, unknown>> {
  if (!(await isFile(path))) return {};
  const value = await readJsonFile(path, { maxBytes: MAX_BYTES });
  return isJsonObject(value) ? value : {};
}
