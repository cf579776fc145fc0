/**
 * Reads and checks the `config.json` of a model in Hugging Face's format, or what stands for it in a
 * GGUF file.
 *
 * Keys and their defaults follow transformers; sizes without which nothing can be computed have no
 * default here.
 *
 * @module
 */
import { FileError, UsageError } from "../errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";
import { ConfigReader } from "./config_reader.ts";
import type { Family } from "./families/family.ts";
import { FAMILIES } from "./families/registry.ts";
import { ROPE_TENSORS } from "./gguf/architectures.ts";
import { readGgufConfig } from "./gguf/config.ts";
import { isGgufPath } from "./gguf/files.ts";
import { configPath } from "./model_paths.ts";
import type { ModelShape } from "./model_shape.ts";
import { readQuantization } from "./quantization.ts";
import type { RopeShape } from "./rope_frequencies.ts";
import { generationEndIds } from "./token_ids.ts";

const MAX_CONFIG_BYTES = 1 << 20;

/**
 * Keys that change the computation, each with the value that changes nothing: one that the family
 * does not ask for must have it.
 */
const NEUTRAL_KEYS: Readonly<Record<string, unknown>> = {
  attention_bias: false,
  mlp_bias: false,
  qk_layernorm: false,
  use_qk_norm: false,
  clip_qkv: undefined,
  attn_logit_softcapping: undefined,
  final_logit_softcapping: undefined,
  query_pre_attn_scalar: undefined,
  attention_multiplier: undefined,
  embedding_multiplier: 1,
  residual_multiplier: 1,
  logits_scaling: 1,
  sliding_window: undefined,
  use_sliding_window: false,
  attention_chunk_size: undefined,
  no_rope_layers: undefined,
  partial_rotary_factor: 1,
  rope_interleaved: false,
  num_experts: undefined,
  num_local_experts: undefined,
};

/** What callers say in place of some keys of a configuration. */
export interface ConfigOptions {
  /**
   * As `rope_scaling` in `config.json`, in place of what stands there: stretches a model. Positions are
   * then as many as the factor gives.
   */
  readonly ropeScaling?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Reads the configuration of a model: `config.json`, and the tokens that end an answer of
 * `generation_config.json` where there is one.
 *
 * @param folder A folder that holds these files, or a GGUF file.
 * @param options What is said in place of some keys.
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
export async function readConfig(
  folder: string,
  options: ConfigOptions = {},
): Promise<ModelShape> {
  if (isGgufPath(folder)) return await readGguf(folder, options);
  const shape = await readConfigFile(configPath(folder), options);
  const warnings = [...shape.warnings];
  const { vocabularySize, eosTokenIds } = shape;
  const further = await generationEndIds(folder, { vocabularySize, warnings });
  return { ...shape, eosTokenIds: [...new Set([...eosTokenIds, ...further])], warnings };
}

async function readGguf(path: string, options: ConfigOptions): Promise<ModelShape> {
  const { values, keyNames, ropeFactors: factors } = await readGgufConfig(path);
  const shape = parseConfig(values, { path, keyNames, ...options });
  // Who gives another scaling gives all of it.
  if (factors === undefined || options.ropeScaling !== undefined) return shape;
  const ropes = shape.ropes.map((rope): RopeShape => {
    if (rope.scaling === undefined && factors.length === rope.dims / 2) {
      return { ...rope, scaling: { kind: "factors", factors } };
    }
    const expected = rope.scaling === undefined
      ? `${rope.dims / 2} elements`
      : `no scaling of the kind ${rope.scaling.kind} beside it`;
    throw new FileError(
      `Cannot read the model as tensor "${ROPE_TENSORS.factors}" in ${path} must have ${expected}: ` +
        `current value is ${factors.length} elements`,
    );
  });
  return { ...shape, ropes };
}

/** As {@linkcode readConfig}, of a file of any name. @throws {FileError} As there. */
export async function readConfigFile(
  path: string,
  options: ConfigOptions = {},
): Promise<ModelShape> {
  const values = await readJsonFile(path, { maxBytes: MAX_CONFIG_BYTES });
  return parseConfig(values, { path, ...options });
}

/**
 * Checks a parsed configuration.
 *
 * @param values The parsed `config.json`.
 * @param options The path that error messages name, and what that file calls some keys.
 * @returns The shape of the model.
 * @throws {FileError} As {@linkcode readConfig}.
 * @throws {UsageError} If `ropeScaling` cannot be used.
 */
export function parseConfig(
  values: unknown,
  options: ConfigOptions & {
    path: string;
    keyNames?: Readonly<Record<string, string>> | undefined;
  },
): ModelShape {
  const { path, ropeScaling, keyNames } = options;
  if (!isJsonObject(values)) {
    throw new FileError(
      `Cannot read ${path} as it must hold a JSON object: current value is ${
        describeValue(values)
      }`,
    );
  }
  const shape = describe(new ConfigReader(values, { path, keyNames }));
  return ropeScaling === undefined ? shape : stretched(values, { shape, ropeScaling });
}

/** The shape with another scaling of its rotation. */
function stretched(
  values: Readonly<Record<string, unknown>>,
  options: { shape: ModelShape; ropeScaling: Readonly<Record<string, unknown>> },
): ModelShape {
  const { shape, ropeScaling } = options;
  const path = "the option 'ropeScaling'";
  const [rope, ...others] = shape.ropes;
  if (rope === undefined || others.length > 0) {
    throw new UsageError(
      "Cannot read the model as 'ropeScaling' must be absent for one whose layers have several " +
        `rotations: current value is ${describeValue(ropeScaling)}`,
    );
  }
  const own = { rope_theta: rope.theta, rope_parameters: undefined, rope_scaling: ropeScaling };
  try {
    const found = describe(new ConfigReader({ ...values, ...own }, { path }));
    const { factor, original_max_position_embeddings: original } = ropeScaling;
    const { max_position_embeddings: given = shape.maxPositions } = values;
    const before = typeof original === "number" ? original : Number(given);
    const positions = typeof factor === "number" ? Math.floor(before * factor) : 0;
    return { ...found, maxPositions: Math.max(found.maxPositions, positions) };
  } catch (error) {
    throw error instanceof FileError ? new UsageError(error.message) : error;
  }
}

/** @throws {FileError} As `parseConfig()`. */
function describe(config: ConfigReader): ModelShape {
  const family = familyOf(config);
  config.expect("model_type", family.modelType);
  const shape = family.describe(config);
  const stored = readQuantization(config, shape);
  config.refuseUnread(NEUTRAL_KEYS);
  return { ...shape, ...stored };
}

function familyOf(config: ConfigReader): Family {
  const names = config.value("architectures");
  const [name] = Array.isArray(names) && names.length === 1 ? names : [];
  const type = config.value("model_type");
  // transformers' automatic classes go by the type alone. A class that is named must be of this type,
  // with a head for tokens, or the one without any head, under which some are saved.
  const family = FAMILIES.find(({ architecture, modelType }) =>
    architecture === name ||
    modelType === type && (names === undefined || isBaseOf(name, architecture))
  );
  if (family !== undefined) return family;
  const expected = FAMILIES.map(({ architecture }) => `[${architecture}]`).join(" or ");
  throw config.refusal("architectures", { expected, found: name ?? names });
}

/** Whether a class is the one without a head, or another spelling: Llama's first one was LLaMA. */
function isBaseOf(name: unknown, architecture: string): boolean {
  if (typeof name !== "string") return false;
  const base = architecture.replace(/ForCausalLM$/, "Model");
  return [architecture, base].some((known) => known.toLowerCase() === name.toLowerCase());
}
