/**
 * Reads and checks the `config.json` of a Llama model in Hugging Face's format.
 *
 * Keys and their defaults follow transformers' `LlamaConfig`; sizes without which nothing can be
 * computed have no default here.
 *
 * @module
 */
import { join } from "node:path";
import { FileError } from "../errors.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";

/** Llama 3.1's scaling of the rotary frequencies. */
export interface Llama3RopeScaling {
  readonly kind: "llama3";
  /** Divisor of the low frequencies. */
  readonly factor: number;
  /** Wavelengths above `originalMaxPositions / lowFrequencyFactor` are scaled in full. */
  readonly lowFrequencyFactor: number;
  /** Wavelengths below `originalMaxPositions / highFrequencyFactor` are left alone. */
  readonly highFrequencyFactor: number;
  /** Positions that the model knew before it was extended. */
  readonly originalMaxPositions: number;
}

/** The shape of a Llama model. Every size is a checked whole number above 0. */
export interface LlamaConfig {
  readonly architecture: "LlamaForCausalLM";
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layerCount: number;
  readonly queryHeads: number;
  /** A divisor of `queryHeads`. */
  readonly kvHeads: number;
  /** Need not be `hiddenSize / queryHeads`. */
  readonly headDim: 64 | 128;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: Llama3RopeScaling | undefined;
  /** Whether the output layer uses the embedding's weights. */
  readonly tiedEmbeddings: boolean;
  readonly bosTokenId: number | undefined;
  /** Empty when the configuration names none. */
  readonly eosTokenIds: readonly number[];
}

/** The name of the configuration inside a model folder. */
export const CONFIG_FILE = "config.json";

const MAX_CONFIG_BYTES = 1 << 20;

// Far above every published model, and low enough that the byte size of any tensor (at most
// 2^24 x 2^16 elements of 4 bytes) is an exact number.
const MAX_HIDDEN = 1 << 16;
const MAX_INTERMEDIATE = 1 << 20;
const MAX_LAYERS = 1024;
const MAX_HEADS = 1024;
const MAX_VOCABULARY = 1 << 24;
const MAX_POSITIONS = 1 << 27;

/** An object of the configuration, with what error messages need to name it. */
interface Section {
  readonly path: string;
  /** What stands before a key's name, for example `rope_scaling.`. */
  readonly prefix: string;
  readonly values: Record<string, unknown>;
}

interface NumberLimits {
  readonly min: number;
  readonly max: number;
  /** Stands in for a key that is absent or null. */
  readonly fallback?: number;
}

/**
 * Reads the configuration of a model folder.
 *
 * @param folder A folder that holds `config.json`.
 * @returns The checked configuration.
 * @throws {FileError} If the file is missing or not JSON, or a key is missing, has the wrong type,
 * is out of its range, or asks for something that this program does not compute; the message names
 * the file, the key, what was expected and what was found.
 */
export async function readConfig(folder: string): Promise<LlamaConfig> {
  const path = join(folder, CONFIG_FILE);
  const values = await readJsonFile(path, { maxBytes: MAX_CONFIG_BYTES });
  return parseConfig(values, { path });
}

/**
 * Checks a parsed configuration.
 *
 * @param values The parsed `config.json`.
 * @param options The path that error messages name.
 * @returns The checked configuration.
 * @throws {FileError} As {@linkcode readConfig}.
 */
export function parseConfig(values: unknown, options: { path: string }): LlamaConfig {
  const { path } = options;
  if (!isJsonObject(values)) {
    throw new FileError(
      `Cannot read ${path} as it must hold a JSON object: current value is ${
        describeValue(values)
      }`,
    );
  }
  const section = { path, prefix: "", values };
  refuseOtherModels(section);
  const hiddenSize = wholeNumber(section, "hidden_size", { min: 1, max: MAX_HIDDEN });
  const heads = readHeads(section, hiddenSize);
  const vocabularySize = wholeNumber(section, "vocab_size", { min: 1, max: MAX_VOCABULARY });
  return {
    architecture: "LlamaForCausalLM",
    hiddenSize,
    intermediateSize: wholeNumber(section, "intermediate_size", { min: 1, max: MAX_INTERMEDIATE }),
    layerCount: wholeNumber(section, "num_hidden_layers", { min: 1, max: MAX_LAYERS }),
    ...heads,
    vocabularySize,
    maxPositions: wholeNumber(section, "max_position_embeddings", { min: 1, max: MAX_POSITIONS }),
    rmsNormEps: number(section, "rms_norm_eps", { min: 1e-12, max: 1 }),
    ...readRope(section),
    tiedEmbeddings: flag(section, "tie_word_embeddings"),
    bosTokenId: tokenIds(section, "bos_token_id", vocabularySize)[0],
    eosTokenIds: tokenIds(section, "eos_token_id", vocabularySize),
  };
}

function refuseOtherModels(section: Section): void {
  const { values } = section;
  const names = values.architectures;
  if (!Array.isArray(names) || names.length !== 1 || names[0] !== "LlamaForCausalLM") {
    const found = Array.isArray(names) && names.length === 1 ? names[0] : names;
    throw refusal(section, "architectures", { expected: "[LlamaForCausalLM]", found });
  }
  // A key that would change the computation in a way that the kernels do not know must
  // have the value that changes nothing: silence here would give wrong results.
  const expectations: readonly (readonly [string, unknown])[] = [
    ["model_type", "llama"],
    ["hidden_act", "silu"],
    ["attention_bias", false],
    ["mlp_bias", false],
    ["partial_rotary_factor", 1],
    ["quantization_config", undefined],
  ];
  for (const [key, expected] of expectations) {
    const found = values[key] ?? undefined;
    if (found === undefined || found === expected) continue;
    const words = expected === undefined ? "absent" : describeValue(expected);
    throw refusal(section, key, { expected: words, found });
  }
}

function readHeads(
  section: Section,
  hiddenSize: number,
): Pick<LlamaConfig, "queryHeads" | "kvHeads" | "headDim"> {
  const queryHeads = wholeNumber(section, "num_attention_heads", { min: 1, max: MAX_HEADS });
  const kvHeads = wholeNumber(section, "num_key_value_heads", {
    min: 1,
    max: MAX_HEADS,
    fallback: queryHeads,
  });
  if (queryHeads % kvHeads !== 0) {
    const expected = `a divisor of 'num_attention_heads' ${queryHeads}`;
    throw refusal(section, "num_key_value_heads", { expected, found: kvHeads });
  }
  const found = section.values.head_dim ?? hiddenSize / queryHeads;
  if (found !== 64 && found !== 128) {
    const expected = section.values.head_dim === undefined || section.values.head_dim === null
      ? "64 or 128, or given by 'hidden_size' / 'num_attention_heads'"
      : "64 or 128";
    throw refusal(section, "head_dim", { expected, found });
  }
  return { queryHeads, kvHeads, headDim: found };
}

/**
 * The rotary embedding's keys: `rope_theta` and `rope_scaling`, or the `rope_parameters` in which
 * transformers 5 keeps both.
 */
function readRope(section: Section): Pick<LlamaConfig, "ropeTheta" | "ropeScaling"> {
  const parameters = section.values.rope_parameters ?? undefined;
  const key = parameters === undefined ? "rope_scaling" : "rope_parameters";
  const found = section.values[key] ?? undefined;
  const theta = { min: 1.0001, max: 1e12, fallback: 10000 };
  const outerTheta = number(section, "rope_theta", theta);
  if (found === undefined) return { ropeTheta: outerTheta, ropeScaling: undefined };
  if (!isJsonObject(found)) throw refusal(section, key, { expected: "an object or null", found });
  const inner: Section = { path: section.path, prefix: `${key}.`, values: found };
  const ropeTheta = number(inner, "rope_theta", { ...theta, fallback: outerTheta });
  const typeKey = found.rope_type === undefined && found.type !== undefined ? "type" : "rope_type";
  const kind = found[typeKey];
  if (kind === "default") return { ropeTheta, ropeScaling: undefined };
  if (kind !== "llama3") {
    throw refusal(inner, typeKey, { expected: `"llama3" or "default"`, found: kind });
  }
  return { ropeTheta, ropeScaling: readLlama3Scaling(inner) };
}

function readLlama3Scaling(section: Section): Llama3RopeScaling {
  const lowFrequencyFactor = number(section, "low_freq_factor", { min: 1e-3, max: 1e6 });
  const highFrequencyFactor = number(section, "high_freq_factor", { min: 1e-3, max: 1e6 });
  if (highFrequencyFactor <= lowFrequencyFactor) {
    const expected = `above 'low_freq_factor' ${lowFrequencyFactor}`;
    throw refusal(section, "high_freq_factor", { expected, found: highFrequencyFactor });
  }
  return {
    kind: "llama3",
    factor: number(section, "factor", { min: 1, max: 1e6 }),
    lowFrequencyFactor,
    highFrequencyFactor,
    originalMaxPositions: wholeNumber(section, "original_max_position_embeddings", {
      min: 1,
      max: MAX_POSITIONS,
    }),
  };
}

function number(section: Section, key: string, limits: NumberLimits): number {
  const found = section.values[key] ?? limits.fallback;
  const { min, max } = limits;
  if (typeof found !== "number" || !(found >= min && found <= max)) {
    throw refusal(section, key, { expected: `a number from ${min} to ${max}`, found });
  }
  return found;
}

function wholeNumber(section: Section, key: string, limits: NumberLimits): number {
  const found = section.values[key] ?? limits.fallback;
  const { min, max } = limits;
  if (!Number.isInteger(found) || typeof found !== "number" || found < min || found > max) {
    throw refusal(section, key, { expected: `a whole number from ${min} to ${max}`, found });
  }
  return found;
}

/** A key of true or false; absent or null is false, as in `LlamaConfig`. */
function flag(section: Section, key: string): boolean {
  const found = section.values[key] ?? false;
  if (typeof found !== "boolean") throw refusal(section, key, { expected: "true or false", found });
  return found;
}

/** A key that holds one id, an array of ids, or nothing. */
function tokenIds(section: Section, key: string, vocabularySize: number): number[] {
  const found = section.values[key] ?? [];
  const ids: unknown[] = Array.isArray(found) ? found : [found];
  return ids.map((id) => {
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabularySize) return id;
    const expected = `made of whole numbers from 0 to ${vocabularySize - 1}`;
    throw refusal(section, key, { expected, found: id });
  });
}

function refusal(
  section: Section,
  key: string,
  options: { expected: string; found: unknown },
): FileError {
  return new FileError(
    `Cannot read the model as '${section.prefix}${key}' in ${section.path} must be ${options.expected}: ` +
      `current value is ${describeValue(options.found)}`,
  );
}

/**
 * The rotary embedding's angle per position, for each pair of dimensions.
 *
 * As transformers' `modeling_rope_utils.py` computes it, rounded to float32 at the same places:
 * `1 / theta^(2i / headDim)`; with Llama 3.1's scaling, low frequencies are divided by the factor,
 * and those between the two limits are mixed linearly.
 *
 * @param config The model's configuration.
 * @returns [headDim / 2] in radians per position.
 */
export function inverseFrequencies(
  config: Pick<LlamaConfig, "headDim" | "ropeTheta" | "ropeScaling">,
): Float32Array<ArrayBuffer> {
  const { headDim, ropeTheta, ropeScaling } = config;
  const f32 = Math.fround;
  const theta = f32(ropeTheta);
  return Float32Array.from({ length: headDim / 2 }, (_, pair) => {
    const frequency = f32(1 / f32(theta ** (2 * pair / headDim)));
    return ropeScaling === undefined ? frequency : scaledFrequency(frequency, ropeScaling);
  });
}

function scaledFrequency(frequency: number, scaling: Llama3RopeScaling): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  const f32 = Math.fround;
  // PyTorch divides a number by a tensor as reciprocal times number, with two roundings.
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  if (wavelength > f32(scaling.originalMaxPositions / low)) return f32(frequency / f32(factor));
  if (wavelength < f32(scaling.originalMaxPositions / high)) return frequency;
  const ratio = f32(f32(1 / wavelength) * f32(scaling.originalMaxPositions));
  const smooth = f32(f32(ratio - f32(low)) / f32(high - low));
  const scaled = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
  return f32(scaled + f32(smooth * frequency));
}
