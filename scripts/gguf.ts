/**
 * Writes a model folder as one GGUF file, for llama.cpp: `deno run -A scripts/gguf.ts FOLDER FILE
 * [f32|f16|bf16|q8_0]`.
 *
 * Key names follow ggml's `docs/gguf.md` and llama.cpp's `convert_hf_to_gguf.py`: vectors are f32; in
 * some architectures rows of queries and keys are reordered, as llama.cpp rotates neighbouring pairs
 * there. No vocabulary is written: llama.cpp is given ids.
 *
 * @module
 */
import { elementsToFloats } from "../lib/device/elements.ts";
import { FileError, invariant, UsageError } from "../lib/errors.ts";
import { readConfig } from "../lib/model/config.ts";
import {
  architectureNamed,
  fileName,
  type GgufArchitecture,
  ROPE_TENSORS,
} from "../lib/model/gguf/architectures.ts";
import { configPath } from "../lib/model/model_paths.ts";
import { allWeights, type ModelShape, type WeightSpec } from "../lib/model/model_shape.ts";
import { inverseFrequencies } from "../lib/model/rope_frequencies.ts";
import { openWeightFiles, type WeightFiles } from "../lib/model/weight_files.ts";
import { findWeight } from "../lib/model/weight_lookup.ts";
import { isJsonObject, readJsonFile } from "../lib/text_file.ts";
import {
  encodeTensor,
  type GgufPair,
  type GgufTensor,
  TENSOR_TYPES,
  type TensorType,
  writeGgufFile,
} from "./gguf_file.ts";

/** How to write a model. */
export interface GgufOptions {
  /**
   * Of all matrices; vectors are f32.
   *
   * @default {"bf16"}
   */
  readonly type?: TensorType;
  /**
   * The vocabulary's keys.
   *
   * @default {readonly GgufPair[]} None: `tokenizer.ggml.model` is `no_vocab`.
   */
  readonly vocabulary?: readonly GgufPair[];
}

/**
 * Writes the file.
 *
 * @param path The file. @param folder A model folder in Hugging Face's format.
 * @throws {FileError} If the model is missing or damaged, or llama.cpp has no such architecture.
 */
export async function writeGguf(
  path: string,
  folder: string,
  options: GgufOptions = {},
): Promise<void> {
  const { type = "bf16", vocabulary = [["tokenizer.ggml.model", "text", "no_vocab"]] } = options;
  const config = await readConfig(folder);
  // Mistral's models are of Llama's architecture there, and their windows are not heard of.
  const name = config.family === "mistral" ? "llama" : config.family;
  const architecture = architectureNamed(name);
  if (architecture === undefined) {
    throw new FileError(`Cannot write ${folder} as GGUF: there is no architecture ${name}`);
  }
  using files = await openWeightFiles(folder);
  const tensors = [
    ...listTensors(config, { files, folder, type, architecture }),
    ...factorTensors(config),
  ];
  const maxPositions = await ownPositions(folder, config);
  const pairs = [...metadata({ ...config, maxPositions }, architecture), ...vocabulary];
  await writeGgufFile(path, { pairs, tensors });
}

/** `max_position_embeddings` as it stands there: what a scaling leads to is not counted in the file. */
async function ownPositions(folder: string, config: ModelShape): Promise<number> {
  const values = await readJsonFile(configPath(folder), { maxBytes: 1 << 20 });
  const own = isJsonObject(values) ? values.max_position_embeddings : undefined;
  return typeof own === "number" ? own : config.maxPositions;
}

function listTensors(
  config: ModelShape,
  source: { files: WeightFiles; folder: string; type: TensorType; architecture: GgufArchitecture },
): GgufTensor[] {
  const { files, folder, type: wanted, architecture } = source;
  const read = (spec: WeightSpec): GgufTensor => {
    const { entry, dtype } = findWeight(files, { spec, folder });
    invariant(
      dtype !== "f64" && dtype !== "q8_0" && dtype !== "i8",
      "a folder's weights have a dtype of tensors",
    );
    const type = spec.shape.length === 1 ? "f32" : wanted;
    const isPaired = architecture.hasRowPairs && /\.[qk]_proj\./.test(spec.name);
    const bytes = (): Uint8Array => {
      const floats = elementsToFloats(entry.file.bytes.slice(entry.begin, entry.end), dtype);
      const rows = spec.shape[0] ?? 1;
      const shape = { rows, headDim: config.ownHeadDim };
      return encodeTensor(isPaired ? pairRows(floats, shape) : floats, type);
    };
    return { name: fileName(spec.name, architecture), shape: spec.shape, type, bytes };
  };
  return allWeights(config).map(read);
}

/** Rows d and d + D / 2 of each head become neighbours. */
function pairRows(
  floats: Float32Array<ArrayBuffer>,
  shape: { rows: number; headDim: number },
): Float32Array<ArrayBuffer> {
  const { rows, headDim } = shape;
  const out = new Float32Array(floats.length);
  const width = floats.length / rows;
  const half = headDim / 2;
  for (let row = 0; row < rows; row++) {
    const d = row % headDim;
    const to = row - d + 2 * (d % half) + Math.floor(d / half);
    out.set(floats.subarray(row * width, (row + 1) * width), to * width);
  }
  return out;
}

/** Llama 3.1's scaling as divisors of the frequencies, and LongRoPE's two sets of them. */
function factorTensors(config: ModelShape): GgufTensor[] {
  const [rope] = config.ropes;
  const tensor = (name: string, factors: Iterable<number>): GgufTensor => {
    const floats = Float32Array.from(factors);
    const bytes = () => encodeTensor(floats, "f32");
    return { name, shape: [floats.length], type: "f32", bytes };
  };
  switch (rope?.scaling?.kind) {
    case "llama3": {
      const plain = inverseFrequencies({ ...rope, scaling: undefined });
      const scaled = inverseFrequencies(rope);
      const factors = plain.map((frequency, i) => frequency / (scaled[i] ?? frequency));
      return [tensor(ROPE_TENSORS.factors, factors)];
    }
    case "longrope":
      return [
        tensor(ROPE_TENSORS.long, rope.scaling.longFactors),
        tensor(ROPE_TENSORS.short, rope.scaling.shortFactors),
      ];
    default:
      return [];
  }
}

function metadata(config: ModelShape, { name }: GgufArchitecture): GgufPair[] {
  const { headDim: _padded, ownHeadDim: headDim } = config;
  const key = (key: string) => `${name}.${key}`;
  const [rope] = config.ropes;
  const window = config.layers.find((layer) => layer.window !== undefined)?.window ?? 0;
  return [
    ["general.architecture", "text", name],
    ["general.alignment", "u32", 32],
    [key("context_length"), "u32", config.maxPositions],
    [key("embedding_length"), "u32", config.hiddenSize],
    [key("block_count"), "u32", config.layerCount],
    [key("feed_forward_length"), "u32", config.intermediateSize],
    [key("attention.head_count"), "u32", config.queryHeads],
    [key("attention.head_count_kv"), "u32", config.kvHeads],
    [key("attention.key_length"), "u32", headDim],
    [key("attention.value_length"), "u32", headDim],
    [key("attention.layer_norm_rms_epsilon"), "f32", config.normEps],
    [key("rope.dimension_count"), "u32", rope?.dims ?? headDim],
    [key("rope.freq_base"), "f32", rope?.theta ?? 10_000],
    [key("vocab_size"), "u32", config.vocabularySize],
    ...scalingKeys(config, key),
    ...(name === "phi3" ? [[key("attention.sliding_window"), "u32", window] as const] : []),
    ...(name === "granite" ? graniteKeys(config, key) : []),
  ];
}

function scalingKeys(config: ModelShape, key: (key: string) => string): GgufPair[] {
  const scaling = config.ropes[0]?.scaling;
  switch (scaling?.kind) {
    case "linear":
      return [
        [key("rope.scaling.type"), "text", "linear"],
        [key("rope.scaling.factor"), "f32", scaling.factor],
      ];
    case "yarn":
      return [
        [key("rope.scaling.type"), "text", "yarn"],
        [key("rope.scaling.factor"), "f32", scaling.factor],
        [key("rope.scaling.original_context_length"), "u32", scaling.originalMaxPositions],
      ];
    case "longrope":
      return [
        [key("rope.scaling.original_context_length"), "u32", scaling.originalMaxPositions],
        [key("rope.scaling.attn_factor"), "f32", scaling.attentionFactor],
      ];
    default:
      return [];
  }
}

function graniteKeys(config: ModelShape, key: (key: string) => string): GgufPair[] {
  const residual = Math.sqrt(config.normEps / config.residualEps);
  return [
    [key("attention.scale"), "f32", config.attentionScale],
    [key("residual_scale"), "f32", residual],
    [key("embedding_scale"), "f32", config.embeddingScale * residual],
    [key("logit_scale"), "f32", 1 / (config.norm.scale ?? 1)],
  ];
}

async function main(args: readonly string[]): Promise<void> {
  const [folder, path, type = "bf16"] = args;
  const isType = (name: string): name is TensorType => Object.hasOwn(TENSOR_TYPES, name);
  if (folder === undefined || path === undefined || !isType(type)) {
    throw new UsageError(
      `Usage: scripts/gguf.ts FOLDER FILE [${Object.keys(TENSOR_TYPES).join("|")}]`,
    );
  }
  await writeGguf(path, folder, { type });
}

if (import.meta.main) await main(Deno.args);
