/**
 * Reads and checks the `config.json` of a model in Hugging Face's format.
 *
 * Keys and their defaults follow transformers; sizes without which nothing can be computed have no
 * default here.
 *
 * @module
 */
import { join } from "node:path";
import { FileError } from "../errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";
import { ConfigReader } from "./config_reader.ts";
import type { Family } from "./families/family.ts";
import { FAMILIES } from "./families/registry.ts";
import type { ModelShape } from "./model_shape.ts";

/** The name of the configuration inside a model folder. */
export const CONFIG_FILE = "config.json";

const MAX_CONFIG_BYTES = 1 << 20;

/**
 * Keys that change the computation, each with the value that changes nothing: one that the family
 * does not ask for must have it.
 */
const NEUTRAL_KEYS: Readonly<Record<string, unknown>> = {
  attention_bias: false,
  mlp_bias: false,
  partial_rotary_factor: 1,
  quantization_config: undefined,
};

/**
 * Reads the configuration of a model folder.
 *
 * @param folder A folder that holds `config.json`.
 * @returns The shape of the model.
 * @throws {FileError} If the file is missing or not JSON, or a key is missing, has the wrong type,
 * is out of its range, or asks for something that this program does not compute; the message names
 * the file, the key, what was expected and what was found.
 * @example
 * ```ts
 * import { readConfig } from "@starx/starx";
 * import { equal } from "node:assert/strict";
 * const { layers, layerCount } = await readConfig("models/starx-tiny");
 * equal(layers.length, layerCount);
 * ```
 */
export async function readConfig(folder: string): Promise<ModelShape> {
  const path = join(folder, CONFIG_FILE);
  const values = await readJsonFile(path, { maxBytes: MAX_CONFIG_BYTES });
  return parseConfig(values, { path });
}

/**
 * Checks a parsed configuration.
 *
 * @param values The parsed `config.json`.
 * @param options The path that error messages name.
 * @returns The shape of the model.
 * @throws {FileError} As {@linkcode readConfig}.
 */
export function parseConfig(values: unknown, options: { path: string }): ModelShape {
  const { path } = options;
  if (!isJsonObject(values)) {
    throw new FileError(
      `Cannot read ${path} as it must hold a JSON object: current value is ${
        describeValue(values)
      }`,
    );
  }
  const config = new ConfigReader(values, { path });
  const family = familyOf(config);
  config.expect("model_type", family.modelType);
  const shape = family.describe(config);
  config.refuseUnread(NEUTRAL_KEYS);
  return shape;
}

function familyOf(config: ConfigReader): Family {
  const names = config.value("architectures");
  const [name] = Array.isArray(names) && names.length === 1 ? names : [];
  const family = FAMILIES.find(({ architecture }) => architecture === name);
  if (family !== undefined) return family;
  const expected = FAMILIES.map(({ architecture }) => `[${architecture}]`).join(" or ");
  throw config.refusal("architectures", { expected, found: name ?? names });
}
