/**
 * The metadata of a GGUF file as the keys of a `config.json`, which families read.
 *
 * Keys follow ggml's `docs/gguf.md` and llama.cpp's `convert_hf_to_gguf.py`; what they leave out is
 * taken as `llama-model.cpp` takes it. Keys that would change the computation and are not read are
 * refused.
 *
 * @module
 */
import { FileError } from "../../errors.ts";
import { readRange } from "../../file_range.ts";
import { readError } from "../../files.ts";
import { architectureOf, type GgufArchitecture, ROPE_TENSORS } from "./architectures.ts";
import { ggufEndIds } from "./end_tokens.ts";
import { readGgufHeaders } from "./files.ts";
import { type GgufHeader, type GgufTensor, locateTensors } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";

/** A model's configuration from its GGUF file. */
export interface GgufConfig {
  /** As `config.json` would have them. */
  readonly values: Readonly<Record<string, unknown>>;
  /** The file's own names of some keys, for messages. */
  readonly keyNames: Readonly<Record<string, string>>;
  /** [dims / 2]: what the frequencies of the rotation are divided by, where the file says so. */
  readonly ropeFactors: readonly number[] | undefined;
}

/** More than any head has dimensions. */
const MAX_FACTORS = 1024;

/** Keys that must be neutral, behind the architecture's name. */
const NEUTRAL_KEYS: Readonly<Record<string, number | boolean>> = {
  "expert_count": 0,
  "attention.causal": true,
  "attention.clamp_kqv": 0,
  "attention.max_alibi_bias": 0,
  "attn_logit_softcapping": 0,
  "final_logit_softcapping": 0,
  "use_parallel_residual": false,
  "rope.scaling.alpha": 0,
  "rope.scaling.yarn_ext_factor": 1,
  "rope.scaling.yarn_log_multiplier": 0,
};
/** Granite's factors, which must be neutral elsewhere. */
const SCALE_KEYS = ["attention.scale", "embedding_scale", "residual_scale", "logit_scale"];
/** Where the families' readers find what has a key of its own here. */
const KEY_NAMES: Readonly<Record<string, string>> = {
  hidden_size: "embedding_length",
  intermediate_size: "feed_forward_length",
  num_hidden_layers: "block_count",
  num_attention_heads: "attention.head_count",
  num_key_value_heads: "attention.head_count_kv",
  head_dim: "attention.key_length",
  rms_norm_eps: "attention.layer_norm_rms_epsilon",
  max_position_embeddings: "context_length",
  rope_theta: "rope.freq_base",
  partial_rotary_factor: "rope.dimension_count",
  sliding_window: "attention.sliding_window",
  attention_multiplier: "attention.scale",
  embedding_multiplier: "embedding_scale",
  residual_multiplier: "residual_scale",
  logits_scaling: "logit_scale",
  "rope_scaling.factor": "rope.scaling.factor",
  "rope_scaling.original_max_position_embeddings": "rope.scaling.original_context_length",
  "rope_scaling.attention_factor": "rope.scaling.attn_factor",
  "rope_scaling.beta_fast": "rope.scaling.yarn_beta_fast",
  "rope_scaling.beta_slow": "rope.scaling.yarn_beta_slow",
};

/** What the parts of the configuration are made of. */
interface Source {
  readonly architecture: GgufArchitecture;
  readonly metadata: GgufMetadata;
  /** A key of the architecture, in full. */
  readonly key: (name: string) => string;
  readonly tensors: ReadonlyMap<string, GgufTensor & { readonly path: string }>;
}

/**
 * Reads the configuration of a model in GGUF form.
 *
 * @param path The file, or the first one of several.
 * @throws {FileError} If a file is missing or damaged, of an architecture or a type of tensors that
 * is not read, or a key is missing, has the wrong type or asks for something that is not computed.
 */
export async function readGgufConfig(path: string): Promise<GgufConfig> {
  const headers = await readGgufHeaders(path);
  const source = sourceOf(headers, path);
  const { architecture, metadata, key, tensors } = source;
  refuseUnread(source);
  const queryHeads = metadata.required(key("attention.head_count"));
  const headDim = metadata.number(key("attention.key_length")) ??
    metadata.required(key("embedding_length")) / queryHeads;
  if ((metadata.number(key("attention.value_length")) ?? headDim) !== headDim) {
    throw metadata.refusal(key("attention.value_length"), `as 'attention.key_length', ${headDim}`);
  }
  const window = metadata.number(key("attention.sliding_window")) ?? 0;
  const classes = classOf(architecture, window);
  const values = {
    ...classes,
    hidden_size: metadata.required(key("embedding_length")),
    intermediate_size: metadata.required(key("feed_forward_length")),
    num_hidden_layers: metadata.required(key("block_count")),
    num_attention_heads: queryHeads,
    num_key_value_heads: metadata.number(key("attention.head_count_kv")) ?? queryHeads,
    head_dim: headDim,
    vocab_size: vocabularyOf(source, path),
    max_position_embeddings: metadata.required(key("context_length")),
    rms_norm_eps: metadata.required(key("attention.layer_norm_rms_epsilon")),
    tie_word_embeddings: !tensors.has("output.weight"),
    sliding_window: window > 0 ? window : null,
    ...biasesOf(source),
    ...multipliersOf(source, headDim),
    ...endTokens(metadata),
    ...await rotationOf(source, headDim),
  };
  const keyNames = Object.fromEntries(
    Object.entries(KEY_NAMES).map(([name, own]) => [name, key(own)]),
  );
  const ropeFactors = await readFactors(source, ROPE_TENSORS.factors);
  return { values, keyNames, ropeFactors };
}

function sourceOf(headers: readonly GgufHeader[], path: string): Source {
  const [first] = headers;
  if (first === undefined) throw new FileError(`Cannot read ${path}: it has no header`);
  const { metadata } = first;
  const architecture = architectureOf(metadata);
  const tensors = new Map(
    headers.flatMap((header) =>
      locateTensors(header).map((tensor) =>
        [tensor.name, { ...tensor, path: header.path }] as const
      )
    ),
  );
  return { architecture, metadata, tensors, key: (name) => `${architecture.name}.${name}` };
}

function refuseUnread({ architecture, metadata, key, tensors }: Source): void {
  for (const [name, neutral] of Object.entries(NEUTRAL_KEYS)) metadata.expect(key(name), neutral);
  const sections = metadata.array(key("rope.dimension_sections"))?.numbers() ?? [];
  if (sections.some((count) => count !== 0)) {
    throw metadata.refusal(key("rope.dimension_sections"), "absent");
  }
  if (architecture.name === "granite") {
    metadata.expect(key("rope.scaling.finetuned"), true);
  } else {
    for (const name of SCALE_KEYS) {
      const value = metadata.number(key(name)) ?? 0;
      if (value !== 0 && !(value === 1 && name !== "attention.scale")) {
        throw metadata.refusal(key(name), "absent");
      }
    }
  }
  if (!["llama", "phi3"].includes(architecture.name)) {
    metadata.expect(key("attention.sliding_window"), 0);
  }
  if (architecture.name !== "phi3" && tensors.has(ROPE_TENSORS.long)) {
    throw new FileError(
      `Cannot use ${metadata.path} as a model of the architecture ${architecture.name} has no ` +
        `tensor "${ROPE_TENSORS.long}"`,
    );
  }
}

/** Mistral's files are of Llama's architecture; one that says a window has it in all layers. */
function classOf(architecture: GgufArchitecture, window: number): Record<string, unknown> {
  if (architecture.name === "llama" && window > 0) {
    return { architectures: ["MistralForCausalLM"], model_type: "mistral" };
  }
  return { architectures: [architecture.className], model_type: architecture.modelType };
}

function vocabularyOf({ tensors }: Source, path: string): number {
  const name = "token_embd.weight";
  const rows = tensors.get(name)?.shape[0];
  if (rows !== undefined) return rows;
  throw new FileError(`Cannot read the model as ${path} must hold tensor "${name}": it is missing`);
}

/** Biases show in the tensors alone. Qwen 2 always has its own. */
function biasesOf({ architecture, tensors }: Source): Record<string, unknown> {
  const hasAttention = tensors.has("blk.0.attn_q.bias");
  const hasMlp = tensors.has("blk.0.ffn_down.bias");
  switch (architecture.name) {
    case "llama":
    case "granite":
    case "smollm3":
      return { attention_bias: hasAttention, mlp_bias: hasMlp };
    case "qwen3":
    case "olmo2":
      return { attention_bias: hasAttention };
    default:
      return {};
  }
}

/** A scale of 0 stands for none. */
function multipliersOf(
  { architecture, metadata, key }: Source,
  headDim: number,
): Record<string, unknown> {
  if (architecture.name !== "granite") return {};
  const scale = (name: string, fallback: number) => metadata.number(key(name)) || fallback;
  return {
    attention_multiplier: scale("attention.scale", 1 / Math.sqrt(headDim)),
    embedding_multiplier: scale("embedding_scale", 1),
    residual_multiplier: scale("residual_scale", 1),
    logits_scaling: scale("logit_scale", 1),
  };
}

/** The ids that a text begins and an answer ends with. */
function endTokens(metadata: GgufMetadata): Record<string, unknown> {
  const begin = metadata.number("tokenizer.ggml.bos_token_id") ?? null;
  return { bos_token_id: begin, eos_token_id: ggufEndIds(metadata) };
}

async function rotationOf(source: Source, headDim: number): Promise<Record<string, unknown>> {
  const { architecture, metadata, key } = source;
  const dims = metadata.number(key("rope.dimension_count")) ?? headDim;
  if (architecture.name !== "phi3" && dims !== headDim) {
    throw metadata.refusal(key("rope.dimension_count"), `the dimensions of a head, ${headDim}`);
  }
  return {
    rope_theta: metadata.number(key("rope.freq_base")) ?? 10_000,
    // Half a dimension more, as the family rounds the product down.
    partial_rotary_factor: dims === headDim ? 1 : (dims + 0.5) / headDim,
    rope_scaling: await scalingOf(source),
  };
}

async function scalingOf(source: Source): Promise<Record<string, unknown> | null> {
  const { metadata, key } = source;
  const long = await readFactors(source, ROPE_TENSORS.long);
  const short = await readFactors(source, ROPE_TENSORS.short);
  const original = metadata.number(key("rope.scaling.original_context_length"));
  if (long !== undefined || short !== undefined) {
    return {
      rope_type: "longrope",
      long_factor: long,
      short_factor: short,
      original_max_position_embeddings: original,
      attention_factor: metadata.number(key("rope.scaling.attn_factor")) ?? 1,
    };
  }
  metadata.expect(key("rope.scaling.attn_factor"), 1);
  const factor = metadata.number(key("rope.scaling.factor")) ||
    metadata.number(key("rope.scale_linear")) || 1;
  const typeKey = key("rope.scaling.type");
  const type = metadata.text(typeKey) ?? "linear";
  switch (type) {
    case "none":
      return null;
    case "linear":
      return factor === 1 ? null : { rope_type: "linear", factor };
    case "yarn":
      return {
        rope_type: "yarn",
        factor,
        original_max_position_embeddings: original,
        attention_factor: metadata.number(key("rope.scaling.yarn_attn_factor")),
        beta_fast: metadata.number(key("rope.scaling.yarn_beta_fast")),
        beta_slow: metadata.number(key("rope.scaling.yarn_beta_slow")),
      };
  }
  throw metadata.refusal(typeKey, `one of "none", "linear", "yarn"`);
}

/** The numbers of a small tensor; undefined if there is none. */
async function readFactors(source: Source, name: string): Promise<readonly number[] | undefined> {
  const tensor = source.tensors.get(name);
  if (tensor === undefined) return undefined;
  const { path, shape, dtype, begin, end } = tensor;
  const [count = 0] = shape;
  if (dtype !== "F32" || shape.length !== 1 || count > MAX_FACTORS) {
    throw new FileError(
      `Cannot use ${path} as tensor "${name}" must be F32 with at most ${MAX_FACTORS} elements: ` +
        `current value is ${dtype} [${shape.join(", ")}]`,
    );
  }
  try {
    using file = await Deno.open(path, { read: true });
    const bytes = await readRange(file, { begin, end });
    if (bytes.byteLength < end - begin) {
      throw new FileError(`Cannot read ${path}: it became shorter while it was read`);
    }
    const view = new DataView(bytes.buffer);
    const factors = Array.from({ length: count }, (_, i) => view.getFloat32(4 * i, true));
    if (factors.every((factor) => factor > 0 && factor < Infinity)) return factors;
  } catch (error) {
    throw readError(path, error);
  }
  throw new FileError(`Cannot use ${path} as tensor "${name}" must hold numbers above 0`);
}
