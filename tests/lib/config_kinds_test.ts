/**
 * Configurations as they are found: classes under other names, rotations that lead beyond the
 * positions that are given, numbers as Python writes them.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { parseConfig, readConfig } from "../../lib/model/config.ts";
import type { ConfigValues } from "../../lib/model/shapes.ts";
import { assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { SIZES } from "../helpers/unusual_models.ts";

function parse(values: ConfigValues) {
  return parseConfig({ ...SIZES, ...values }, { path: "m/config.json" });
}

Deno.test("parseConfig() goes by the type where no class with another head is named", () => {
  const forms: readonly (readonly [unknown, string, string])[] = [
    [undefined, "llama", "llama"],
    [null, "qwen2", "qwen2"],
    [["LlamaModel"], "llama", "llama"],
    [["LLaMAForCausalLM"], "llama", "llama"],
    [["Qwen3Model"], "qwen3", "qwen3"],
  ];
  for (const [architectures, type, family] of forms) {
    assertEquals(parse({ architectures, model_type: type }).family, family);
  }
  const refused: readonly (readonly [unknown, string | undefined])[] = [
    [undefined, undefined],
    [undefined, "gemma"],
    [["LlamaForSequenceClassification"], "llama"],
    [["LlamaModel"], "mistral"],
    [["LlamaForCausalLM", "LlamaModel"], "llama"],
  ];
  for (const [architectures, type] of refused) {
    const values = { architectures, model_type: type };
    assertThrows(() => parse(values), FileError, "'architectures' in m/config.json must be");
  }
});

Deno.test("parseConfig() counts the positions that a configuration's own scaling leads to", () => {
  const forms: readonly (readonly [Record<string, unknown>, number])[] = [
    [{ type: "default" }, 1024],
    [{ type: "linear", factor: 4 }, 4096],
    [{ type: "dynamic", factor: 2.5 }, 2560],
    [{ type: "yarn", factor: 4, original_max_position_embeddings: 768 }, 3072],
    // Some write the stretched number in both places.
    [{ type: "yarn", factor: 4, original_max_position_embeddings: 128 }, 1024],
    [{ type: "yarn", factor: 4 }, 4096],
    [{
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 512,
    }, 1024],
  ];
  for (const [scaling, positions] of forms) {
    const llama = { architectures: ["LlamaForCausalLM"] };
    assertEquals(parse({ ...llama, rope_scaling: scaling }).maxPositions, positions);
    const parameters = { rope_parameters: { rope_theta: 10_000, rope_type: "x", ...scaling } };
    if (scaling.type !== undefined) parameters.rope_parameters.rope_type = String(scaling.type);
    assertEquals(parse({ ...llama, ...parameters }).maxPositions, positions);
  }
});

Deno.test("parseConfig() stretches by what is said, not by both scalings", () => {
  const values = {
    ...SIZES,
    architectures: ["LlamaForCausalLM"],
    rope_scaling: { type: "linear", factor: 4 },
  };
  const ropeScaling = { rope_type: "linear", factor: 2 };
  const { maxPositions, ropes } = parseConfig(values, { path: "m/config.json", ropeScaling });
  assertEquals(maxPositions, 2048);
  assertEquals(ropes[0]?.scaling, { kind: "linear", factor: 2 });
});

Deno.test("parseConfig() knows early Phi-3's LongRoPE by its factors", () => {
  const phi = {
    architectures: ["Phi3ForCausalLM"],
    head_dim: 8,
    original_max_position_embeddings: 256,
  };
  const factors = { short_factor: [1, 1, 1, 2], long_factor: [1, 2, 3, 4] };
  const [early, late] = ["yarn", "longrope"].map((type) =>
    parse({ ...phi, rope_scaling: { type, ...factors } }).ropes
  );
  assertEquals(early, late);
  assertEquals(late?.[0]?.scaling?.kind, "longrope");
});

Deno.test("parseConfig() takes SiLU by both of its names", () => {
  const llama = { architectures: ["LlamaForCausalLM"] };
  assertEquals(parse({ ...llama, hidden_act: "swish" }), parse({ ...llama, hidden_act: "silu" }));
  assertThrows(() => parse({ ...llama, hidden_act: "gelu" }), FileError, `must be "silu"`);
});

Deno.test("readConfig() reads numbers that are not finite, as Python writes them", async () => {
  const values = { ...SIZES, architectures: ["LlamaForCausalLM"], note: 'a "NaN" \\' };
  const json = JSON.stringify(values).slice(0, -1);
  const files = (more: string) => ({ "config.json": `${json},${more}}` });
  await inFolder(files('"limits":[NaN,-Infinity,Infinity]'), async (folder) => {
    assertEquals((await readConfig(folder)).hiddenSize, 96);
  });
  for (
    const [more, line] of [
      ['"rope_theta":NaN', `'rope_theta' in`],
      ['"rope_theta":Infinity', `'rope_theta' in`],
      ['"rope_theta":Inf', "it is not JSON"],
    ] as const
  ) {
    await inFolder(
      files(more),
      (folder) => assertRejects(() => readConfig(folder), FileError, line),
    );
  }
});
