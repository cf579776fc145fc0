/**
 * Model folders as they are in the wild: weights of other dtypes, other heads, other files beside.
 *
 * @module
 */
import { FileError } from "../../../lib/errors.ts";
import { parseConfig } from "../../../lib/model/config.ts";
import { readModel } from "../../../lib/model/read_model.ts";
import { makeModel } from "../../../scripts/make_model.ts";
import { assert, assertEquals, assertNotEquals, assertRejects } from "../../helpers/assert.ts";
import { runFamily } from "../../helpers/families.ts";
import { inFolder } from "../../helpers/folder.ts";
import { readWeights, writeWeights } from "../../helpers/safetensors.ts";
import { UNUSUAL_MODELS } from "../../helpers/unusual_models.ts";

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 64,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 97,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: false,
};
const WEIGHTS = "model.safetensors";
const HEAD = "lm_head.weight";
const IDS = Array.from({ length: 290 }, (_, i) => i * 31 % CONFIG.vocab_size);

/** Runs with a folder of a random model in f32. */
async function withModel(use: (folder: string) => Promise<void>): Promise<void> {
  await inFolder({}, async (folder) => {
    await makeModel(folder, { config: CONFIG, dtype: "f32", shards: 1, seed: 1 });
    await use(folder);
  });
}

/** Writes the weights anew, each as a function makes it. */
async function rewrite(
  folder: string,
  change: (name: string, floats: Float32Array) => { dtype: string; bytes: Uint8Array } | undefined,
): Promise<void> {
  const { header, data } = await readWeights(`${folder}/${WEIGHTS}`);
  const changed = Object.entries(header).flatMap(
    ([name, { shape, data_offsets: [begin, end] }]) => {
      const made = change(name, new Float32Array(data.slice(begin, end).buffer));
      return made === undefined ? [] : [[name, { ...made, shape }] as const];
    },
  );
  await writeWeights(`${folder}/${WEIGHTS}`, new Map(changed));
}

function asF32(floats: Float32Array): { dtype: string; bytes: Uint8Array } {
  return { dtype: "F32", bytes: new Uint8Array(floats.slice().buffer) };
}

async function logits(folder: string): Promise<readonly (readonly [number, number])[]> {
  return (await runFamily(folder, { ids: IDS, tokensToGenerate: 1 })).topLogits;
}

async function writeConfig(folder: string, changes: Record<string, unknown>): Promise<void> {
  await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...CONFIG, ...changes }));
}

Deno.test("weights in F64 give what the same numbers in F32 do", async () => {
  await withModel(async (folder) => {
    const expected = await logits(folder);
    await rewrite(folder, (_, floats) => ({
      dtype: "F64",
      bytes: new Uint8Array(Float64Array.from(floats).buffer),
    }));
    assertEquals(await logits(folder), expected);
  });
});

Deno.test("a tied model whose file has another head takes the file's, with a warning", async () => {
  await withModel(async (folder) => {
    const expected = await logits(folder);
    await writeConfig(folder, { tie_word_embeddings: true });
    const { warnings } = await readModel(folder);
    assertEquals(warnings, [
      `${folder}/${WEIGHTS} has an ${HEAD} other than the embedding, which 'tie_word_embeddings' ` +
      "in config.json calls the same: the file's is taken",
    ]);
    assertEquals(await logits(folder), expected);
  });
});

Deno.test("a tied model may have the embedding in its file twice, or once, by either name", async () => {
  await withModel(async (folder) => {
    const untied = await logits(folder);
    await writeConfig(folder, { tie_word_embeddings: true });
    let embedding: Float32Array = new Float32Array();
    await rewrite(folder, (name, floats) => {
      if (name === "model.embed_tokens.weight") embedding = floats;
      return asF32(floats);
    });
    await rewrite(folder, (name, floats) => asF32(name === HEAD ? embedding : floats));
    assertEquals((await readModel(folder)).warnings, []);
    const twice = await logits(folder);
    const file = await Deno.readFile(`${folder}/${WEIGHTS}`);
    for (const name of [HEAD, "model.embed_tokens.weight"]) {
      await Deno.writeFile(`${folder}/${WEIGHTS}`, file);
      await rewrite(folder, (other, floats) => other === name ? undefined : asF32(floats));
      assertEquals(await logits(folder), twice);
    }
    assertNotEquals(twice, untied);
  });
});

Deno.test("a folder with weights in another format alone is refused by their name", async () => {
  for (const other of ["pytorch_model.bin", "consolidated.00.pth"]) {
    await inFolder(
      { "config.json": JSON.stringify(CONFIG), [other]: "weights" },
      async (folder) => {
        const error = await assertRejects(() => logits(folder), FileError);
        assert(
          error.message.endsWith(
            `${other} is of another format, which transformers' ` +
              "save_pretrained() converts",
          ),
          error.message,
        );
      },
    );
  }
});

Deno.test("a folder with a GGUF file alone is refused with the path that works", async () => {
  const files = { "config.json": JSON.stringify(CONFIG), "model.gguf": "weights" };
  await inFolder(files, async (folder) => {
    const error = await assertRejects(() => logits(folder), FileError);
    assert(error.message.endsWith(`given by its own path, ${folder}/model.gguf`), error.message);
  });
});

Deno.test("weights in another format beside the safetensors are left alone", async () => {
  await withModel(async (folder) => {
    const expected = await logits(folder);
    await Deno.writeTextFile(`${folder}/pytorch_model.bin`, "not the same weights");
    assertEquals(await logits(folder), expected);
  });
});

/** What transformers takes where a configuration says nothing: epsilon, positions, base. */
const DEFAULTS: Readonly<Record<string, readonly [number, number, number]>> = {
  LlamaForCausalLM: [1e-6, 2048, 10_000],
  MistralForCausalLM: [1e-6, 131_072, 10_000],
  Qwen2ForCausalLM: [1e-6, 32_768, 10_000],
  Qwen3ForCausalLM: [1e-6, 32_768, 10_000],
  Phi3ForCausalLM: [1e-5, 4096, 10_000],
  SmolLM3ForCausalLM: [1e-6, 32_768, 2_000_000],
  GraniteForCausalLM: [1e-6, 2048, 10_000],
  Olmo2ForCausalLM: [1e-5, 2048, 10_000],
};

Deno.test("parseConfig() takes transformers' defaults of each family", () => {
  const { max_position_embeddings: _, rms_norm_eps: __, rope_theta: ___, ...rest } = CONFIG;
  for (const [architecture, expected] of Object.entries(DEFAULTS)) {
    const config = { ...rest, architectures: [architecture] };
    const { normEps, maxPositions, ropes } = parseConfig(config, { path: "config.json" });
    const theta = ropes[0]?.theta ?? NaN;
    assertEquals([normEps, maxPositions, theta], expected, architecture);
  }
});

Deno.test("parseConfig() gives layers the windows that layer_types says", () => {
  const types = ["sliding_attention", "full_attention"];
  const windowed = { layer_types: types, sliding_window: 40, use_sliding_window: true };
  for (const name of ["Qwen2", "Qwen3", "SmolLM3"]) {
    const config = { ...CONFIG, ...windowed, architectures: [`${name}ForCausalLM`] };
    const { layers } = parseConfig(config, { path: "config.json" });
    assertEquals(layers.map(({ window }) => window), [40, undefined], name);
  }
});

Deno.test("parseConfig() gives each type of layer its own rotation", () => {
  const config = UNUSUAL_MODELS["Qwen 3, a rotation for each type of layer"];
  const { layers, ropes } = parseConfig(config, { path: "config.json" });
  assertEquals(layers.map(({ rope = -1 }) => ropes[rope]), [
    { dims: 64, theta: 1_000_000, scaling: { kind: "linear", factor: 4 } },
    { dims: 64, theta: 10_000 },
    { dims: 64, theta: 1_000_000, scaling: { kind: "linear", factor: 4 } },
  ]);
});
