/**
 * The chat template of a GGUF file, and the tokens that it may name.
 *
 * @module
 */
import { ggufEndIds } from "./end_tokens.ts";
import { readGgufHeader } from "./files.ts";

/** A template, and what it is rendered with. */
export interface ChatSource {
  readonly source: string;
  /** Where it stands. */
  readonly path: string;
  /** `bos_token`, `eos_token` and the like, as texts. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Ids of further tokens that end an answer. */
  readonly endIds: readonly number[];
}

/** Where the template stands. */
export const TEMPLATE_KEY = "tokenizer.chat_template";
/** Names in templates, and what the file calls their ids. */
const TOKEN_KEYS = { bos: "bos", eos: "eos", unk: "unknown", pad: "padding" } as const;

/**
 * Reads the template of a file.
 *
 * @returns `undefined` if the file has none.
 * @throws {FileError} If it names a token that is not in its table.
 */
export async function readGgufChat(path: string): Promise<ChatSource | undefined> {
  const { metadata } = await readGgufHeader(path);
  const source = metadata.text(TEMPLATE_KEY);
  if (source === undefined) return undefined;
  const idOf = (name: string) => metadata.number(`tokenizer.ggml.${name}_token_id`);
  const texts = metadata.array("tokenizer.ggml.tokens")?.strings() ?? [];
  const tokens: Record<string, string> = {};
  for (const [name, key] of Object.entries(TOKEN_KEYS)) {
    const id = idOf(key);
    if (id === undefined) continue;
    const text = texts[id];
    if (text === undefined) {
      throw metadata.refusal(`tokenizer.ggml.${key}_token_id`, `an id below ${texts.length}`);
    }
    tokens[`${name}_token`] = text;
  }
  return { source, path, tokens, endIds: ggufEndIds(metadata) };
}
