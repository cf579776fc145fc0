/**
 * Writes a model folder as one GGUF file, version 3, for llama.cpp: bf16 weights, no vocabulary.
 *
 * Layout and key names follow ggml's `docs/gguf.md` and llama.cpp's `convert_hf_to_gguf.py`: rows of
 * queries and keys are reordered, as llama.cpp rotates neighbouring pairs; norms are f32.
 *
 * @module
 */
import { elementsToFloats, floatsToElements } from "../lib/device/elements.ts";
import { invariant } from "../lib/errors.ts";
import { readConfig } from "../lib/model/config.ts";
import { isTied, type ModelShape, type WeightSpec } from "../lib/model/model_shape.ts";
import { inverseFrequencies } from "../lib/model/rope_frequencies.ts";
import { openWeightFiles, type WeightFiles } from "../lib/model/weight_files.ts";
import { findWeight } from "../lib/model/weight_lookup.ts";

/** `enum ggml_type`. */
const F32 = 0;
const BF16 = 30;
/** `enum gguf_type`. */
const UINT32 = 4;
const FLOAT32 = 6;
const STRING = 8;
const ALIGNMENT = 32;
/** `LLAMA_FTYPE_MOSTLY_BF16`. */
const FILE_TYPE = 32;

/** A tensor of the file, and how to get its bytes. */
interface GgufTensor {
  readonly name: string;
  /** Row-major; the file has it reversed. */
  readonly shape: readonly number[];
  readonly type: number;
  readonly bytes: () => Uint8Array;
}

/**
 * Writes the file.
 *
 * @param path The file. @param folder A model folder in Hugging Face's format.
 * @throws {FileError} If the model is missing or damaged.
 */
export async function writeGguf(path: string, folder: string): Promise<void> {
  const config = await readConfig(folder);
  using files = await openWeightFiles(folder);
  const tensors = listTensors(config, { files, folder });
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  await writeAll(file, header(config, tensors));
  for (const tensor of tensors) await writeAll(file, padded(tensor.bytes()));
}

function listTensors(
  config: ModelShape,
  source: { files: WeightFiles; folder: string },
): GgufTensor[] {
  const { files, folder } = source;
  const { headDim } = config;
  const read = (name: string, spec: WeightSpec, heads = 0): GgufTensor => {
    const { entry, dtype } = findWeight(files, { spec, folder });
    invariant(dtype !== "f64", "models in f64 are not written as GGUF");
    const isVector = spec.shape.length === 1;
    const bytes = (): Uint8Array => {
      const raw = entry.file.bytes.slice(entry.begin, entry.end);
      const wanted = isVector ? "f32" : "bf16";
      const found = dtype === wanted ? raw : floatsToElements(elementsToFloats(raw, dtype), wanted);
      return heads === 0 ? found : pairRows(found, { heads, headDim });
    };
    return { name, shape: spec.shape, type: isVector ? F32 : BF16, bytes };
  };
  const layers = config.layers.map((shape, layer) => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    const [query, key, value] = shape.qkv.weights;
    const [gate, up] = shape.gateUp.weights;
    const [output] = shape.output.weights;
    const [down] = shape.down.weights;
    const { inputNorm, mlpNorm } = shape;
    invariant(query && key && value && gate && up && output && down, "a Llama layer has these");
    invariant(inputNorm && mlpNorm, "a Llama layer has norms before its parts");
    return [
      read(name("attn_norm"), inputNorm),
      read(name("attn_q"), query, config.queryHeads),
      read(name("attn_k"), key, config.kvHeads),
      read(name("attn_v"), value),
      read(name("attn_output"), output),
      read(name("ffn_norm"), mlpNorm),
      read(name("ffn_gate"), gate),
      read(name("ffn_up"), up),
      read(name("ffn_down"), down),
    ];
  });
  return [
    read("token_embd.weight", config.embedding),
    ...layers.flat(),
    read("output_norm.weight", config.norm),
    ...(isTied(config) ? [] : [read("output.weight", config.head)]),
    ...frequencyFactors(config),
  ];
}

/** Llama 3.1's scaling, as the factors by which llama.cpp divides its frequencies. */
function frequencyFactors(config: ModelShape): GgufTensor[] {
  const [rope] = config.ropes;
  if (rope?.scaling === undefined) return [];
  const plain = inverseFrequencies({ ...rope, scaling: undefined });
  const scaled = inverseFrequencies(rope);
  const factors = plain.map((frequency, i) => frequency / (scaled[i] ?? frequency));
  const bytes = () => new Uint8Array(factors.buffer);
  return [{ name: "rope_freqs.weight", shape: [factors.length], type: F32, bytes }];
}

/** Rows d and d + D/2 of each head become neighbours. */
function pairRows(bytes: Uint8Array, shape: { heads: number; headDim: number }): Uint8Array {
  const { heads, headDim } = shape;
  const out = new Uint8Array(bytes.length);
  const row = bytes.length / (heads * headDim);
  const half = headDim / 2;
  for (let head = 0; head < heads; head++) {
    for (let d = 0; d < headDim; d++) {
      const from = (head * headDim + d) * row;
      const to = head * headDim + 2 * (d % half) + Math.floor(d / half);
      out.set(bytes.subarray(from, from + row), to * row);
    }
  }
  return out;
}

function header(config: ModelShape, tensors: readonly GgufTensor[]): Uint8Array {
  const out = new ByteWriter();
  const pairs: readonly (readonly [string, number, string | number])[] = [
    ["general.architecture", STRING, "llama"],
    ["general.file_type", UINT32, FILE_TYPE],
    ["general.alignment", UINT32, ALIGNMENT],
    ["llama.context_length", UINT32, config.maxPositions],
    ["llama.embedding_length", UINT32, config.hiddenSize],
    ["llama.block_count", UINT32, config.layerCount],
    ["llama.feed_forward_length", UINT32, config.intermediateSize],
    ["llama.attention.head_count", UINT32, config.queryHeads],
    ["llama.attention.head_count_kv", UINT32, config.kvHeads],
    ["llama.attention.key_length", UINT32, config.headDim],
    ["llama.attention.value_length", UINT32, config.headDim],
    ["llama.attention.layer_norm_rms_epsilon", FLOAT32, config.normEps],
    ["llama.rope.dimension_count", UINT32, config.headDim],
    ["llama.rope.freq_base", FLOAT32, config.ropes[0]?.theta ?? 0],
    ["llama.vocab_size", UINT32, config.vocabularySize],
    ["tokenizer.ggml.model", STRING, "no_vocab"],
  ];
  out.text("GGUF");
  out.uint32(3);
  out.uint64(tensors.length);
  out.uint64(pairs.length);
  for (const [key, type, value] of pairs) {
    out.string(key);
    out.uint32(type);
    if (typeof value === "string") out.string(value);
    else if (type === FLOAT32) out.float32(value);
    else out.uint32(value);
  }
  let offset = 0;
  for (const { name, shape, type } of tensors) {
    out.string(name);
    out.uint32(shape.length);
    for (const extent of shape.toReversed()) out.uint64(extent);
    out.uint32(type);
    out.uint64(offset);
    const elements = shape.reduce((product, extent) => product * extent, 1);
    offset += roundUp(elements * (type === F32 ? 4 : 2));
  }
  return padded(out.bytes());
}

/** Collects little-endian numbers and strings. */
class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  text(text: string): void {
    this.#parts.push(new TextEncoder().encode(text));
  }

  string(text: string): void {
    this.uint64(new TextEncoder().encode(text).length);
    this.text(text);
  }

  uint32(value: number): void {
    this.#parts.push(new Uint8Array(Uint32Array.of(value).buffer));
  }

  uint64(value: number): void {
    this.#parts.push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  float32(value: number): void {
    this.#parts.push(new Uint8Array(Float32Array.of(value).buffer));
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

function roundUp(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
}

function padded(bytes: Uint8Array): Uint8Array {
  const length = roundUp(bytes.length);
  if (length === bytes.length) return bytes;
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const written = await file.write(bytes.subarray(at));
    invariant(written > 0, "a file takes at least a byte");
    at += written;
  }
}
