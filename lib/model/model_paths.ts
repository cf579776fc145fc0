/**
 * Where the parts of a model lie: in a folder in Hugging Face's format, or in a GGUF file.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { isFile } from "../files.ts";
import { isGgufPath, readGgufHeader } from "./gguf/files.ts";

/** The name of the configuration inside a model folder. */
export const CONFIG_FILE = "config.json";
/** The name of the tokenizer inside a model folder, or beside a GGUF file. */
const TOKENIZER_FILE = "tokenizer.json";

/** The file with a model's configuration: the GGUF file itself, or `config.json`. */
export function configPath(model: string): string {
  return isGgufPath(model) ? model : join(model, CONFIG_FILE);
}

/**
 * The file with a model's tokenizer: `tokenizer.json` in its folder, or beside its GGUF file; the GGUF
 * file itself where there is none.
 */
export async function tokenizerPath(model: string): Promise<string> {
  if (!isGgufPath(model)) return join(model, TOKENIZER_FILE);
  const beside = join(dirname(model), TOKENIZER_FILE);
  return await isFile(beside) ? beside : model;
}

/** Whether a model has a tokenizer; that it can be loaded is not said. */
export async function hasTokenizer(model: string): Promise<boolean> {
  const path = await tokenizerPath(model);
  if (path !== model) return await isFile(path);
  return (await readGgufHeader(model)).metadata.has("tokenizer.ggml.tokens");
}
