/**
 * The architectures of GGUF files that are read, and the names of their tensors.
 *
 * Names follow `gguf-py/gguf/constants.py` of llama.cpp, and what its converter makes of the tensors
 * of a folder in Hugging Face's format.
 *
 * @module
 */
import { FileError } from "../../errors.ts";
import { describeValue } from "../../text_file.ts";
import type { GgufMetadata } from "./metadata.ts";

/** An architecture, as a family of models stores it. */
export interface GgufArchitecture {
  /** `general.architecture`, and what its keys begin with. */
  readonly name: string;
  /** The family's class in `architectures` of a `config.json`. */
  readonly className: string;
  readonly modelType: string;
  /**
   * Whether rows of queries and keys are in the order of pairs that are rotated together: 0, D / 2,
   * 1, D / 2 + 1 and so on of each head.
   */
  readonly hasRowPairs: boolean;
  /** Names of a layer's tensors here, and in the family's folder. */
  readonly layerNames: Readonly<Record<string, string>>;
}

const SHARED_NAMES = {
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
} as const;
const HEAD_NORMS = { attn_q_norm: "self_attn.q_norm", attn_k_norm: "self_attn.k_norm" } as const;
const NORMS_BEFORE = {
  attn_norm: "input_layernorm",
  ffn_norm: "post_attention_layernorm",
} as const;
const NORMS_BEHIND = {
  post_attention_norm: "post_attention_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
} as const;

const LLAMA_NAMES = { ...SHARED_NAMES, ...NORMS_BEFORE };

/** The architectures that are read. */
const ARCHITECTURES: readonly GgufArchitecture[] = [
  {
    name: "llama",
    className: "LlamaForCausalLM",
    modelType: "llama",
    hasRowPairs: true,
    layerNames: LLAMA_NAMES,
  },
  {
    name: "qwen2",
    className: "Qwen2ForCausalLM",
    modelType: "qwen2",
    hasRowPairs: false,
    layerNames: LLAMA_NAMES,
  },
  {
    name: "qwen3",
    className: "Qwen3ForCausalLM",
    modelType: "qwen3",
    hasRowPairs: false,
    layerNames: { ...LLAMA_NAMES, ...HEAD_NORMS },
  },
  {
    name: "phi3",
    className: "Phi3ForCausalLM",
    modelType: "phi3",
    hasRowPairs: false,
    layerNames: {
      ...NORMS_BEFORE,
      attn_qkv: "self_attn.qkv_proj",
      attn_output: "self_attn.o_proj",
      ffn_up: "mlp.gate_up_proj",
      ffn_down: "mlp.down_proj",
    },
  },
  {
    name: "smollm3",
    className: "SmolLM3ForCausalLM",
    modelType: "smollm3",
    hasRowPairs: true,
    layerNames: LLAMA_NAMES,
  },
  {
    name: "granite",
    className: "GraniteForCausalLM",
    modelType: "granite",
    hasRowPairs: true,
    layerNames: LLAMA_NAMES,
  },
  {
    name: "olmo2",
    className: "Olmo2ForCausalLM",
    modelType: "olmo2",
    hasRowPairs: false,
    layerNames: { ...SHARED_NAMES, ...HEAD_NORMS, ...NORMS_BEHIND },
  },
];

/** Tensors outside of the layers. */
const MODEL_NAMES: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

/** Tensors that stand for numbers of the configuration. */
export const ROPE_TENSORS = {
  /** [dims / 2]: what Llama 3's frequencies are divided by. */
  factors: "rope_freqs.weight",
  /** [dims / 2]: LongRoPE's divisors beyond the positions of the training. */
  long: "rope_factors_long.weight",
  /** [dims / 2]: those up to there. */
  short: "rope_factors_short.weight",
} as const;

const KEY = "general.architecture";

/** An architecture by its name; undefined if it is not read. */
export function architectureNamed(name: string | undefined): GgufArchitecture | undefined {
  return ARCHITECTURES.find((architecture) => architecture.name === name);
}

/** The architecture of a file. @throws {FileError} If it is none that is read. */
export function architectureOf(metadata: GgufMetadata): GgufArchitecture {
  const type = "general.type";
  if ((metadata.text(type) ?? "model") !== "model") throw metadata.refusal(type, `"model"`);
  const found = architectureNamed(metadata.text(KEY));
  if (found !== undefined) return found;
  const names = ARCHITECTURES.map((architecture) => architecture.name).join(", ");
  throw metadata.refusal(KEY, `one of ${names}`);
}

/**
 * The name of a tensor in the family's folder.
 *
 * @returns Undefined for a tensor that stands for numbers of the configuration.
 * @throws {FileError} If the architecture has no such tensor: what it stands for would be left out.
 */
export function familyName(
  name: string,
  context: { architecture: GgufArchitecture; path: string },
): string | undefined {
  const { architecture, path } = context;
  if (Object.values<string>(ROPE_TENSORS).includes(name)) return undefined;
  const known = MODEL_NAMES[name];
  if (known !== undefined) return known;
  const [, layer, part = "", kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const own = Object.hasOwn(architecture.layerNames, part)
    ? architecture.layerNames[part]
    : undefined;
  if (own !== undefined) return `model.layers.${layer}.${own}.${kind}`;
  throw new FileError(
    `Cannot use ${path} as a model of the architecture ${architecture.name} has no tensor ` +
      `${describeValue(name)}: what it stands for would be left out`,
  );
}

/** The reverse of {@linkcode familyName}, for messages; names that it never gives stay. */
export function fileName(name: string, architecture: GgufArchitecture): string {
  const [whole] = Object.entries(MODEL_NAMES).find(([, known]) => known === name) ?? [];
  if (whole !== undefined) return whole;
  const [, layer, part, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const [own] = Object.entries(architecture.layerNames).find(([, known]) => known === part) ?? [];
  return own === undefined ? name : `blk.${layer}.${own}.${kind}`;
}
