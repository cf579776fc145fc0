/**
 * Rotations that depend on a length depend on their own sequence's, and configurations of
 * transformers 4 and 5 say the same.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { readConfig } from "../../lib/model/config.ts";
import { type Generation, loadModel, type LoadOptions } from "../../mod.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertNotEquals,
  assertRejects,
} from "../helpers/assert.ts";
import { familiesFolder, type FamilyCase, familyCases } from "../helpers/families.ts";
import { PlainModel } from "../helpers/plain_model.ts";

const FOLDER = familiesFolder();
const CASES = familyCases();

interface Config {
  [key: string]: unknown;
  rope_parameters: Record<string, unknown>;
}

/** Runs a function with a copy of a model whose configuration is another one. */
async function withConfig<T>(
  name: string,
  change: (config: Config) => Record<string, unknown>,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    for await (const { name: file } of Deno.readDir(`${FOLDER}/${name}`)) {
      await Deno.copyFile(`${FOLDER}/${name}/${file}`, `${folder}/${file}`);
    }
    const path = `${folder}/config.json`;
    const config: Config = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify(change(config)));
    return await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** As transformers 4 writes it. */
function older(config: Config): Record<string, unknown> {
  const { rope_parameters, dtype, layer_types: _, ...rest } = config;
  const { rope_theta, partial_rotary_factor, ...scaling } = rope_parameters;
  const isPlain = scaling.rope_type === "default";
  return {
    ...rest,
    torch_dtype: dtype,
    rope_theta,
    ...(partial_rotary_factor === undefined ? {} : { partial_rotary_factor }),
    rope_scaling: isPlain ? null : scaling,
  };
}

interface Ask {
  readonly ids: readonly number[];
  readonly tokens: number;
}

/** Asks a model about some prompts at once. */
async function ask(
  folder: string,
  prompts: readonly Ask[],
  options: LoadOptions = {},
): Promise<Generation[]> {
  await using model = await loadModel(folder, {
    device: "cpu",
    threads: 1,
    precision: PRECISIONS.f32,
    batchSize: prompts.length,
    ...options,
  });
  return await Promise.all(prompts.map(({ ids, tokens }) =>
    model.generate({
      context: Int32Array.from(ids.slice(0, -8)),
      query: Int32Array.from(ids.slice(-8)),
    }, { tokensToGenerate: tokens, topLogits: 4 })
  ));
}

function longRope(): FamilyCase {
  const found = CASES.get("phi3-longrope");
  assert(found !== undefined);
  return found;
}

/** LongRoPE whose original length lies between prompt and end. */
const crossing = (config: Config): Record<string, unknown> => ({
  ...config,
  original_max_position_embeddings: 160,
  rope_parameters: { ...config.rope_parameters, original_max_position_embeddings: 160 },
});

Deno.test({
  name: "readConfig() reads the same from transformers 4 and 5",
  ignore: FOLDER === undefined,
  fn: async (t) => {
    for (const name of CASES.keys()) {
      await t.step(name, async () => {
        const expected = await readConfig(`${FOLDER}/${name}`);
        assertEquals(await withConfig(name, older, (folder) => readConfig(folder)), expected);
      });
    }
  },
});

Deno.test({
  name: "generate() with LongRoPE gives what a fresh pass over the same text does",
  ignore: FOLDER === undefined,
  fn: async () => {
    const ids = longRope().ids.slice(0, 152);
    await withConfig("phi3-longrope", crossing, async (folder) => {
      const [whole] = await ask(folder, [{ ids, tokens: 16 }]);
      assert(whole !== undefined);
      for (const done of [4, 8, 12]) {
        const prompt = [...ids, ...whole.ids.slice(0, done)];
        const [fresh] = await ask(folder, [{ ids: prompt, tokens: 16 - done }]);
        assertEquals(fresh?.ids, whole.ids.slice(done), `after ${done} tokens`);
      }
      // The factors are those of the whole sequence: a shorter answer has the short ones.
      const [short] = await ask(folder, [{ ids, tokens: 4 }]);
      assertNotEquals(short?.topLogits, whole.topLogits);
    });
  },
});

Deno.test({
  name: "LongRoPE takes the long factors where more tokens are read than the original length",
  ignore: FOLDER === undefined,
  fn: async () => {
    const { ids, std } = longRope();
    await withConfig("phi3-longrope", crossing, async (folder) => {
      const plain = await PlainModel.load(folder);
      const whole = [160, 161].map((length) => plain.logits(ids.slice(0, length)));
      assertNotEquals(whole[0], whole[1]);
      // The token that 160 ids end in is never read.
      const asks = [{ ids: ids.slice(0, 160), tokens: 1 }, { ids: ids.slice(0, 161), tokens: 1 }];
      for (const [i, { topLogits }] of (await ask(folder, asks)).entries()) {
        for (const [id, logit] of topLogits) {
          assertAlmostEquals(logit, whole[i]?.[id] ?? NaN, 1e-3 * std);
        }
      }
      await using model = await loadModel(folder, { device: "cpu", precision: PRECISIONS.f32 });
      const part = (from: number, to: number) => Int32Array.from(ids.slice(from, to));
      const { next } = await model.score(part(0, 150), part(150, 160));
      const logits = whole[0] ?? new Float64Array();
      const sum = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
      assertAlmostEquals(next.logprob, (logits[next.id] ?? NaN) - sum, 1e-3);
    });
  },
});

Deno.test({
  name: "generate() rotates and hides by each sequence's own length, whatever runs beside it",
  ignore: FOLDER === undefined,
  fn: async (t) => {
    const { ids } = longRope();
    const prompts = [{ ids: ids.slice(0, 40), tokens: 12 }, { ids: ids.slice(0, 250), tokens: 12 }];
    const dynamic = (config: Config) => ({ ...config, max_position_embeddings: 128 });
    const scaling = { rope_type: "dynamic", factor: 4 };
    const kinds = [
      ["LongRoPE", "phi3-longrope", crossing, {}],
      ["dynamic NTK", "llama-default", dynamic, { ropeScaling: scaling }],
      ["a window", "mistral-window", (config: Config) => config, {}],
    ] as const;
    for (const [label, name, change, options] of kinds) {
      await t.step(label, () =>
        withConfig(name, change, async (folder) => {
          const together = await ask(folder, prompts, options);
          for (const [i, prompt] of prompts.entries()) {
            const [alone] = await ask(folder, [prompt], options);
            assertEquals(together[i]?.ids, alone?.ids);
            assertEquals(together[i]?.topLogits, alone?.topLogits);
          }
        }));
    }
  },
});

Deno.test({
  name: "loadModel() takes a scaling in place of the configuration's",
  ignore: FOLDER === undefined,
  fn: async () => {
    const { ids } = longRope();
    const prompt = { ids: ids.slice(0, 100), tokens: 4 };
    const scaling = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 };
    const [given] = await ask(`${FOLDER}/llama-default`, [prompt], { ropeScaling: scaling });
    const inFile = (config: Config) => ({
      ...config,
      rope_parameters: { ...config.rope_parameters, ...scaling },
    });
    const [written] = await withConfig(
      "llama-default",
      inFile,
      (folder) => ask(folder, [prompt]),
    );
    assertEquals(given?.topLogits, written?.topLogits);
    const [plain] = await ask(`${FOLDER}/llama-default`, [prompt]);
    assertNotEquals(given?.topLogits, plain?.topLogits);
    await assertRejects(
      () => ask(`${FOLDER}/llama-default`, [prompt], { ropeScaling: { rope_type: "linear" } }),
      UsageError,
      "'rope_scaling.factor' in the option 'ropeScaling' must be a number",
    );
  },
});
