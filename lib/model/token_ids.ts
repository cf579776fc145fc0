/**
 * Ids of tokens that a model's configuration names, in `config.json` or `generation_config.json`.
 *
 * @module
 */
import { join } from "node:path";
import { FileError } from "../errors.ts";
import { isFile } from "../files.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";
import { ConfigReader } from "./config_reader.ts";

const GENERATION_FILE = "generation_config.json";
const END_KEY = "eos_token_id";
const MAX_BYTES = 16 * 2 ** 20;

/**
 * A key that holds one id, an array of ids, or nothing.
 *
 * @param options Ids beyond `vocabularySize` never occur: they are left out, and `warnings` get a line.
 * @throws {FileError} If it holds something else.
 */
export function tokenIds(
  config: ConfigReader,
  options: { key: string; vocabularySize: number; warnings: string[] },
): number[] {
  const { key, vocabularySize, warnings } = options;
  const found = config.value(key) ?? [];
  const ids: unknown[] = Array.isArray(found) ? found : [found];
  return ids.flatMap((id) => {
    if (typeof id !== "number" || !Number.isInteger(id)) {
      throw config.refusal(key, { expected: "a whole number, or an array of them", found: id });
    }
    if (id >= 0 && id < vocabularySize) return [id];
    warnings.push(
      `'${key}' in ${config.path} names id ${id}, which the vocabulary of ${vocabularySize} ` +
        "does not have: it is ignored",
    );
    return [];
  });
}

/**
 * The tokens that end an answer by `generation_config.json`; none if there is no such file.
 *
 * @param folder The model's folder.
 * @throws {FileError} If the file holds no JSON object, or something else than ids there.
 */
export async function generationEndIds(
  folder: string,
  options: { vocabularySize: number; warnings: string[] },
): Promise<number[]> {
  const path = join(folder, GENERATION_FILE);
  if (!(await isFile(path))) return [];
  const values = await readJsonFile(path, { maxBytes: MAX_BYTES });
  if (isJsonObject(values)) {
    return tokenIds(new ConfigReader(values, { path }), { key: END_KEY, ...options });
  }
  throw new FileError(
    `Cannot read ${path} as it must hold a JSON object: current value is ${describeValue(values)}`,
  );
}
