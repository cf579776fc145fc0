import { FileError } from "../../lib/errors.ts";
import { COMPRESSED } from "../helpers/compressed_tensors.ts";
import { parseConfig, readConfig } from "../../lib/model/config.ts";
import { isTied, type ModelShape } from "../../lib/model/model_shape.ts";
import { inverseFrequencies, type RopeShape } from "../../lib/model/rope_frequencies.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;

const LLAMA3_SCALING = {
  rope_type: "llama3",
  factor: 32,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

/** Keys of a valid configuration, with some replaced; `undefined` removes a key. */
function values(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const all: Record<string, unknown> = {
    architectures: ["LlamaForCausalLM"],
    hidden_size: 2048,
    intermediate_size: 8192,
    max_position_embeddings: 131072,
    num_attention_heads: 32,
    num_hidden_layers: 16,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    vocab_size: 128256,
    ...changes,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function parse(changes: Record<string, unknown> = {}) {
  return parseConfig(values(changes), { path: "m/config.json" });
}

function ropeOf({ ropes: [rope] }: ModelShape): RopeShape {
  assert(rope !== undefined);
  return rope;
}

Deno.test("readConfig() reads the model that the repository ships", async () => {
  const { layers, embedding, norm, head, ...sizes } = await readConfig(TINY);
  assertEquals(sizes, {
    family: "llama",
    hiddenSize: 256,
    intermediateSize: 768,
    layerCount: 6,
    queryHeads: 8,
    kvHeads: 2,
    headDim: 64,
    ownHeadDim: 64,
    vocabularySize: 4096,
    maxPositions: 16384,
    normEps: 1e-5,
    residualEps: 1e-5,
    attentionScale: 0.125,
    embeddingScale: 1,
    ropes: [{ dims: 64, theta: 500000 }],
    warnings: [],
    bosTokenId: 4089,
    eosTokenIds: [4093, 4090, 4094],
  });
  const table = { name: "model.embed_tokens.weight", shape: [4096, 256] };
  assertEquals([embedding, head], [table, table]);
  assertEquals(norm, { name: "model.norm.weight", shape: [256] });
  assertEquals(layers.length, 6);
  const weight = (name: string, ...shape: number[]) => ({
    name: `model.layers.5.${name}.weight`,
    shape,
  });
  assertEquals(layers[5], {
    rope: 0,
    inputNorm: weight("input_layernorm", 256),
    qkv: {
      weights: [
        weight("self_attn.q_proj", 512, 256),
        weight("self_attn.k_proj", 128, 256),
        weight("self_attn.v_proj", 128, 256),
      ],
    },
    output: { weights: [weight("self_attn.o_proj", 256, 512)] },
    mlpNorm: weight("post_attention_layernorm", 256),
    gateUp: { weights: [weight("mlp.gate_proj", 768, 256), weight("mlp.up_proj", 768, 256)] },
    down: { weights: [weight("mlp.down_proj", 256, 768)] },
  });
});

Deno.test("readConfig() throws if the folder, the file or its syntax is wrong", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/config.json`;
  await assertRejects(
    () => readConfig(folder),
    FileError,
    `Cannot read ${path}: it does not exist`,
  );
  await Deno.writeTextFile(path, `{"hidden_size": }`);
  await assertRejects(() => readConfig(folder), FileError, `Cannot read ${path}: it is not JSON`);
  await Deno.writeFile(path, new Uint8Array([0x22, 0xff, 0xfe, 0x22]));
  await assertRejects(() => readConfig(folder), FileError, `${path}: it is not UTF-8 text`);
  await Deno.writeTextFile(path, "[1, 2]");
  await assertRejects(
    () => readConfig(folder),
    FileError,
    `Cannot read ${path} as it must hold a JSON object: current value is [1, 2]`,
  );
  await Deno.writeTextFile(path, " ".repeat((1 << 20) + 1));
  await assertRejects(
    () => readConfig(folder),
    FileError,
    "as it may have at most 1048576 bytes: current value is 1048577",
  );
  await Deno.remove(path);
  await Deno.mkdir(path);
  await assertRejects(() => readConfig(folder), FileError, `Cannot read ${path}: it is not a file`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("parseConfig() takes transformers' defaults for optional keys", () => {
  const config = parse({ rope_theta: undefined, num_key_value_heads: undefined });
  assertEquals(config.ropes[0]?.theta, 10000);
  assertEquals(config.kvHeads, 32);
  assertEquals(config.headDim, 64);
  assertEquals(isTied(config), false);
  const bare = parse({ rms_norm_eps: undefined, max_position_embeddings: undefined });
  assertEquals([bare.normEps, bare.maxPositions], [1e-6, 2048]);
  assertEquals(config.bosTokenId, undefined);
  assertEquals(config.eosTokenIds, []);
});

Deno.test("parseConfig() accepts a head size that differs from hidden size by heads", () => {
  assertEquals(parse({ head_dim: 128 }).headDim, 128);
  assertEquals(parse({ hidden_size: 2000, head_dim: 128 }).hiddenSize, 2000);
});

Deno.test("parseConfig() accepts one or several end tokens", () => {
  assertEquals(parse({ eos_token_id: 7 }).eosTokenIds, [7]);
  assertEquals(parse({ eos_token_id: [7, 9] }).eosTokenIds, [7, 9]);
});

Deno.test("parseConfig() warns of end tokens that the vocabulary does not have", () => {
  const config = parse({ eos_token_id: [7, 128256] });
  assertEquals(config.eosTokenIds, [7]);
  assertEquals(config.warnings, [
    "'eos_token_id' in m/config.json names id 128256, which the vocabulary of 128256 does not " +
    "have: it is ignored",
  ]);
});

Deno.test("parseConfig() pads heads to the next size that the kernels have", () => {
  const sizes = [16, 48, 64, 80, 100, 112, 128].map((head_dim) => parse({ head_dim }));
  assertEquals(sizes.map(({ ownHeadDim }) => ownHeadDim), [16, 48, 64, 80, 100, 112, 128]);
  assertEquals(sizes.map(({ headDim }) => headDim), [64, 64, 64, 128, 128, 128, 128]);
});

Deno.test("readConfig() adds the end tokens of generation_config.json", async () => {
  const config = JSON.stringify(values({ eos_token_id: 7 }));
  const read = async (generation: string) => {
    const files = { "config.json": config, "generation_config.json": generation };
    return await inFolder(files, async (folder) => await readConfig(folder));
  };
  const contents: [string, readonly number[]][] = [
    ['{"eos_token_id": [9, 7, 11]}', [7, 9, 11]],
    ['{"eos_token_id": 9, "do_sample": true, "temperature": 0.6}', [7, 9]],
    ['{"eos_token_id": null}', [7]],
    ["{}", [7]],
  ];
  for (const [content, ids] of contents) assertEquals((await read(content)).eosTokenIds, ids);
  const beyond = await read('{"eos_token_id": [9, 200000]}');
  assertEquals(beyond.eosTokenIds, [7, 9]);
  assertMatch(beyond.warnings.join(), /generation_config\.json names id 200000, which the vocab/);
  const refused = [
    ['{"eos_token_id": "9"}', "generation_config.json must be a whole number, or an array of them"],
    ["[]", "generation_config.json as it must hold a JSON object: current value is []"],
    ["version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer"],
  ] as const;
  for (const [content, message] of refused) {
    await assertRejects(() => read(content), FileError, message);
  }
});

Deno.test("parseConfig() reads rope scaling in each of its spellings", () => {
  const { rope_type: _, ...unnamed } = LLAMA3_SCALING;
  const expected = {
    kind: "llama3" as const,
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  };
  assertEquals(parse({ rope_scaling: LLAMA3_SCALING }).ropes[0]?.scaling, expected);
  assertEquals(parse({ rope_scaling: { ...unnamed, type: "llama3" } }).ropes[0]?.scaling, expected);
  const parameters = { ...LLAMA3_SCALING, rope_theta: 20000 };
  const newer = parse({ rope_theta: undefined, rope_parameters: parameters });
  assertEquals(newer.ropes[0]?.scaling, expected);
  assertEquals(newer.ropes[0]?.theta, 20000);
  const plain = parse({ rope_parameters: { rope_type: "default", rope_theta: 1234 } });
  assertEquals(plain.ropes[0]?.scaling, undefined);
  assertEquals(plain.ropes[0]?.theta, 1234);
  assertEquals(parse({ rope_scaling: null }).ropes[0]?.scaling, undefined);
});

Deno.test("parseConfig() throws if rope_scaling and rope_parameters ask for different rotations", () => {
  const parameters = { rope_type: "default", rope_theta: 20000 };
  const both = (rope_scaling: unknown, rope_parameters: unknown = parameters) =>
    parse({ rope_theta: undefined, rope_parameters, rope_scaling });
  const different = [
    both.bind(null, LLAMA3_SCALING),
    both.bind(null, { ...parameters, rope_theta: 30000 }),
    both.bind(null, { rope_type: "default" }, { ...LLAMA3_SCALING, rope_theta: 20000 }),
    both.bind(null, { ...LLAMA3_SCALING, factor: 8 }, { ...LLAMA3_SCALING, rope_theta: 20000 }),
  ];
  const message = "'rope_scaling' in m/config.json must be absent, or the same, beside " +
    "'rope_parameters': current value is an object";
  for (const call of different) assertThrows(call, FileError, message);
  for (const scaling of [null, {}, parameters, { type: "default" }]) {
    assertEquals(both(scaling).ropes, both(null).ropes);
    assertEquals(both(scaling).ropes[0]?.theta, 20000);
    assertEquals(both(scaling).ropes[0]?.scaling, undefined);
  }
  const same = both(LLAMA3_SCALING, { ...LLAMA3_SCALING, rope_theta: 20000 });
  assertEquals(same.ropes[0]?.scaling?.kind, "llama3");
  assertEquals(same.ropes[0]?.theta, 20000);
});

Deno.test("parseConfig() throws if a key is missing", () => {
  const required = [
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
    "architectures",
  ];
  for (const key of required) {
    const error = assertThrows(() => parse({ [key]: undefined }), FileError);
    assertEquals(error.message.includes(`'${key}' in m/config.json must be`), true, error.message);
    assertEquals(error.message.endsWith(": current value is missing"), true, error.message);
  }
});

const REFUSED: readonly (readonly [Record<string, unknown>, string])[] = [
  [
    { hidden_size: -3 },
    "'hidden_size' in m/config.json must be a whole number from 1 to 65536: current value is -3",
  ],
  [{ hidden_size: 2048.5 }, "a whole number from 1 to 65536: current value is 2048.5"],
  [{ hidden_size: "2048" }, `a whole number from 1 to 65536: current value is "2048"`],
  [{ hidden_size: 2 ** 53 }, "current value is 9007199254740992"],
  [{ vocab_size: 1e300 }, "'vocab_size' in m/config.json must be a whole number from 1 to"],
  [{ num_hidden_layers: 0 }, "a whole number from 1 to 1024: current value is 0"],
  [{ rms_norm_eps: 0 }, "'rms_norm_eps' in m/config.json must be a number from 1e-12 to 1"],
  [{ rope_theta: [5] }, "'rope_theta' in m/config.json must be a number from 1.0001 to"],
  [{ architectures: ["GemmaForCausalLM"] }, `[Olmo2ForCausalLM]: current value is "Gemma`],
  [{ architectures: "LlamaForCausalLM" }, `current value is "LlamaForCausalLM"`],
  [{ model_type: "mistral" }, `'model_type' in m/config.json must be "llama"`],
  [{ hidden_act: "gelu" }, `'hidden_act' in m/config.json must be "silu": current value is "gelu"`],
  [{ attention_bias: 1 }, "'attention_bias' in m/config.json must be true or false"],
  [{ sliding_window: 4096 }, "'sliding_window' in m/config.json must be absent"],
  [{ qk_layernorm: true }, "'qk_layernorm' in m/config.json must be false"],
  [{ num_local_experts: 8 }, "'num_local_experts' in m/config.json must be absent"],
  [{ partial_rotary_factor: 0.5 }, "'partial_rotary_factor' in m/config.json must be 1"],
  [
    { quantization_config: { quant_method: "awq", bits: 4 } },
    "'quantization_config.quant_method' in m/config.json must be \"compressed-tensors\" or " +
    '"fbgemm_fp8": current value is "awq"',
  ],
  [{ quantization_config: "int8" }, "'quantization_config' in m/config.json must be an object"],
  [
    { quantization_config: { ...COMPRESSED, format: "pack-quantized" } },
    "'quantization_config.format' in m/config.json must be \"int-quantized\"",
  ],
  [
    { quantization_config: { ...COMPRESSED, kv_cache_scheme: { num_bits: 8 } } },
    "'quantization_config.kv_cache_scheme' in m/config.json must be absent",
  ],
  [
    { quantization_config: { ...COMPRESSED, config_groups: {} } },
    "'quantization_config.config_groups' in m/config.json must be an object of at least one group",
  ],
  ...([
    ["weights", { num_bits: 4 }, "num_bits' in m/config.json must be 8: current value is 4"],
    [
      "weights",
      { type: "float" },
      `type' in m/config.json must be "int": current value is "float"`,
    ],
    ["weights", { strategy: "group" }, `strategy' in m/config.json must be "channel"`],
    ["weights", { symmetric: false }, "symmetric' in m/config.json must be true"],
    ["weights", { group_size: 128 }, "group_size' in m/config.json must be absent"],
    ["input_activations", { dynamic: false }, "dynamic' in m/config.json must be true"],
    ["input_activations", { strategy: "tensor" }, `strategy' in m/config.json must be "token"`],
  ] as const).map(([part, keys, message]): [Record<string, unknown>, string] => {
    const { group_0: group } = COMPRESSED.config_groups;
    const changed = { ...group, [part]: { ...group[part], ...keys } };
    return [
      { quantization_config: { ...COMPRESSED, config_groups: { group_0: changed } } },
      `'quantization_config.config_groups.group_0.${part}.${message}`,
    ];
  }),
  [
    { num_key_value_heads: 5 },
    "must be a divisor of 'num_attention_heads' 32: current value is 5",
  ],
  [{ head_dim: 144 }, "'head_dim' in m/config.json must be an even number from 2 to 128"],
  [{ hidden_size: 1056 }, "by 'hidden_size' / 'num_attention_heads': current value is 33"],
  [{ tie_word_embeddings: "yes" }, 'must be true or false: current value is "yes"'],
  [{ eos_token_id: [1, "2"] }, "'eos_token_id' in m/config.json must be a whole number, or an"],
  [
    { rope_scaling: { rope_type: "ntk", factor: 4 } },
    `"longrope", "llama3": current value is "ntk"`,
  ],
  [{ rope_scaling: { type: "linear" } }, "'rope_scaling.factor' in m/config.json must be a number"],
  [{ rope_scaling: { type: "mrope", mrope_section: [1] } }, "'rope_scaling.type' in m/config.json"],
  [
    { rope_scaling: { rope_type: "longrope", short_factor: [1, 2], long_factor: [1, 2] } },
    "'rope_scaling.short_factor' in m/config.json must be an array of 32 numbers",
  ],
  [{ rope_scaling: { factor: 4 } }, "current value is missing"],
  [{ rope_scaling: 4 }, "'rope_scaling' in m/config.json must be an object or null"],
  [
    { rope_scaling: { ...LLAMA3_SCALING, factor: "8" } },
    `'rope_scaling.factor' in m/config.json must be a number from 1 to 1000000`,
  ],
  [
    { rope_scaling: { ...LLAMA3_SCALING, high_freq_factor: 1 } },
    "must be above 'low_freq_factor' 1: current value is 1",
  ],
  [
    { rope_scaling: { ...LLAMA3_SCALING, original_max_position_embeddings: undefined } },
    "'rope_scaling.original_max_position_embeddings' in m/config.json",
  ],
];

for (const [changes, message] of REFUSED) {
  Deno.test(`parseConfig() throws for ${JSON.stringify(changes)}`, () => {
    assertThrows(() => parse(changes), FileError, message);
  });
}

Deno.test("inverseFrequencies() is 1 / theta^(2i / headDim) in float32", () => {
  const config = parse({ head_dim: 128 });
  const found = inverseFrequencies(ropeOf(config));
  assertEquals(found.length, 64);
  // Values of NumPy in float32, in transformers' order of operations.
  const expected: readonly (readonly [number, number])[] = [
    [0, 1],
    [1, 0.8146172165870667],
    [2, 0.663601279258728],
    [13, 0.06956595182418823],
  ];
  for (const [pair, value] of expected) assertAlmostEquals(found[pair] ?? 0, value, value * 1.2e-7);
});

Deno.test("inverseFrequencies() scales as Llama 3.1 does", () => {
  // Values of NumPy in float32, in transformers' order of operations: untouched up to 14, mixed
  // from 15 to 17, divided by 32 from 18 on.
  const expected: readonly (readonly [number, number])[] = [
    [0, 1],
    [14, 0.0032114461064338684],
    [15, 0.0012905480107292533],
    [16, 0.000429556705057621],
    [17, 0.00009708286233944818],
    [18, 0.000019461638657958247],
    [19, 0.00001291476746700937],
  ];
  const found = inverseFrequencies(ropeOf(parse({ rope_scaling: LLAMA3_SCALING })));
  assertEquals(found.length, 32);
  for (const [pair, value] of expected) assertAlmostEquals(found[pair] ?? 0, value, value * 1.2e-7);
});
