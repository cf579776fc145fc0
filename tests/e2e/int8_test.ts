/**
 * Models with weights in 8 bits: near those in bf16, the same bits however they are computed and
 * wherever the weights come from, and files that are kept or refused.
 *
 * @module
 */
import { loadModel, type LoadOptions, openPhases, PRECISIONS } from "../../mod.ts";
import type { RankOptions } from "../../lib/engine/rank.ts";
import { STAR_PROGRAM } from "../../lib/engine/star_program.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { keptPath } from "../../lib/model/kept_weights.ts";
import { readConfig } from "../../lib/model/config.ts";
import { convertedWeightBytes } from "../../lib/model/weight_memory.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "../helpers/assert.ts";
import { compressModel } from "../helpers/compressed_tensors.ts";
import { inFolder } from "../helpers/folder.ts";
import { cosine, type FirstLogits, firstLogits } from "../helpers/first_logits.ts";
import { MODEL } from "../helpers/prompts.ts";
import { readWeights, writeWeights } from "../helpers/safetensors.ts";

const CONTEXT = "The grass is green. The sky is blue. The sun is yellow.\n".repeat(30);
const PROMPT = { context: CONTEXT, query: "The sky is" };

function ask(folder: string, options: LoadOptions = {}): Promise<FirstLogits> {
  return firstLogits(folder, PROMPT, options);
}

Deno.test("8-bit weights give nearly bf16's logits, and other bits", async () => {
  const exact = await ask(MODEL);
  const rounded = await ask(MODEL, { weights: "int8" });
  assertEquals(rounded.logits.length, exact.logits.length);
  assertGreater(cosine(exact.logits, rounded.logits), 0.9995);
  assert(String(rounded.logits) !== String(exact.logits), "8 bits must round");
  assertEquals(rounded.ids, exact.ids);
  const all = await ask(MODEL, { weights: "int8", head: "int8" });
  assertGreater(cosine(exact.logits, all.logits), 0.999);
  assert(String(all.logits) !== String(rounded.logits), "a head in 8 bits must round, too");
  const asObject = await ask(MODEL, { precision: { ...PRECISIONS.bf16, weights: "int8" } });
  assertEquals(asObject, rounded);
});

Deno.test("8-bit weights give the same bits with any threads, batch and processes", async () => {
  const star = { mode: "star", blockTokens: 128, weights: "int8" } as const;
  const expected = await ask(MODEL, star);
  assertEquals(await ask(MODEL, { ...star, threads: 2 }), expected);
  assertEquals(await ask(MODEL, { ...star, processCount: 2 }), expected);
  await using model = await loadModel(MODEL, { ...star, device: "cpu", threads: 2, batchSize: 3 });
  const options = { tokensToGenerate: 6 };
  const others = ["The grass is", "The sun is"].map((query) =>
    model.generate({ ...PROMPT, query }, options)
  );
  const { ids } = await model.generate(PROMPT, options);
  await Promise.all(others);
  assertEquals(ids, expected.ids);
});

Deno.test("weights that files have in 8 bits are taken as they are", () =>
  inFolder({}, async (folder) => {
    await compressModel(MODEL, `${folder}/f32`, { scales: "F32" });
    const expected = await ask(MODEL, { weights: "int8" });
    assertEquals(await ask(`${folder}/f32`), expected);
    assertEquals(await ask(`${folder}/f32`, { copyWeights: true }), expected);
    // Scales with 8 bits of their own; some matrices left alone.
    const ignored = /down_proj/;
    await compressModel(MODEL, `${folder}/bf16`, { scales: "BF16", ignored });
    const exact = await ask(MODEL);
    const rounded = await ask(`${folder}/bf16`);
    assertGreater(cosine(exact.logits, rounded.logits), 0.999);
    // Widened to bf16 they meet activations that are not rounded to 8 bits.
    const widened = await ask(`${folder}/bf16`, { weights: "bf16" });
    assertGreater(cosine(exact.logits, widened.logits), 0.999);
    assert(String(widened.logits) !== String(rounded.logits));
    await using phases = await openPhases(`${folder}/f32`, { device: "cpu", threads: 1 });
    assertEquals(phases.config.storedWeights, "int8");
  }));

Deno.test("8-bit weights of damaged files are refused by name", () =>
  inFolder({}, async (folder) => {
    await compressModel(MODEL, folder, { scales: "F32" });
    const text = await Deno.readTextFile(`${folder}/config.json`);
    const { quantization_config: _, ...config } = JSON.parse(text);
    await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify(config));
    await assertRejects(
      () => ask(folder),
      FileError,
      "q_proj.weight must be BF16, F16, F32 or F64",
    );
    await Deno.writeTextFile(`${folder}/config.json`, text);
    const path = `${folder}/model.safetensors`;
    const { header, data } = await readWeights(path);
    const name = "model.layers.1.self_attn.o_proj.weight_scale";
    const tensors = new Map(
      Object.entries(header).map(([name, { dtype, shape, data_offsets: [begin, end] }]) =>
        [name, { dtype, shape, bytes: data.slice(begin, end) }] as const
      ),
    );
    const scale = tensors.get(name);
    assert(scale !== undefined);
    const bad = { ...scale, dtype: "I32" };
    await writeWeights(path, new Map([...tensors, [name, bad]]));
    await assertRejects(() => ask(folder), FileError, `${name} must be [256, 1] BF16, F16 or F32`);
    tensors.delete(name);
    await writeWeights(path, tensors);
    await assertRejects(() => ask(folder), FileError, `${name} must be there`);
  }));

async function names(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir(folder)) found.push(name);
  return found.sort();
}

async function copyModel(folder: string): Promise<void> {
  for (const file of ["config.json", "tokenizer.json", "model.safetensors"]) {
    await Deno.copyFile(`${MODEL}/${file}`, `${folder}/${file}`);
  }
}

Deno.test("weights that are kept are mapped the next time, and replaced where they are stale", () =>
  inFolder({}, async (folder) => {
    await copyModel(folder);
    const before = await names(folder);
    const options = { weights: "int8", keepWeights: true } as const;
    const expected = await ask(MODEL, { weights: "int8" });
    // Two at once, of several processes each.
    const star = { ...options, mode: "star", blockTokens: 128, processCount: 2 } as const;
    const both = await Promise.all([ask(folder, star), ask(folder, options)]);
    assertEquals(both[1], expected);
    assertEquals((await names(folder)).filter((name) => !before.includes(name)), [
      "weights.int8.starx",
    ]);
    const path = keptPath(folder);
    const first = await Deno.stat(path);
    assertEquals(await ask(folder, options), expected);
    assertEquals((await Deno.stat(path)).ino, first.ino, "what is kept is not written again");
    // A process takes nothing for what is mapped.
    const config = await readConfig(folder);
    const precision = { ...PRECISIONS.bf16, weights: "int8" } as const;
    const sizes = { config, precision };
    assertGreater(await convertedWeightBytes(folder, sizes), 1_000_000);
    assertEquals(await convertedWeightBytes(folder, { ...sizes, keepsWeights: true }), 0);
    // A head is added to what is kept; a file that was cut, or another model's, is replaced.
    const withHead = { ...options, head: "int8" } as const;
    assertEquals(await ask(folder, withHead), await ask(MODEL, { weights: "int8", head: "int8" }));
    assert((await Deno.stat(path)).ino !== first.ino || (await Deno.stat(path)).size > first.size);
    await Deno.truncate(path, first.size - 64);
    assertEquals(await ask(folder, options), expected);
    const weights = await Deno.readFile(`${folder}/model.safetensors`);
    // The upper bit of the fractions of some thousand numbers, whose lower halves these bytes are.
    for (let at = weights.length - 100_000; at < weights.length; at += 20) {
      weights[at] = (weights[at] ?? 0) ^ 0x40;
    }
    await Deno.writeFile(`${folder}/model.safetensors`, weights);
    const changed = await ask(folder, options);
    assertEquals(changed, await ask(folder, { weights: "int8" }));
    assert(String(changed.logits) !== String(expected.logits), "another model has other logits");
    assertEquals(await ask(folder, options), changed);
    assertEquals((await names(folder)).filter((name) => name.endsWith(".tmp")), []);
  }));

Deno.test("of several processes the first one keeps the weights, and may write nothing else", () =>
  inFolder({}, async (folder) => {
    const model = `${folder}/a model`;
    await Deno.mkdir(model);
    await copyModel(model);
    const before = await names(model);
    const options = { weights: "int8", keepWeights: true, mode: "star", blockTokens: 128 } as const;
    const expected = await ask(model, { ...options, keepWeights: false, processCount: 3 });
    assertEquals(await names(model), before);
    assertEquals(await ask(model, { ...options, processCount: 3 }), expected);
    assertEquals(await names(model), [...before, "weights.int8.starx"].toSorted());
    const { ino } = await Deno.stat(keptPath(model));
    assertEquals(await ask(model, { ...options, processCount: 3 }), expected);
    assertEquals(await ask(model, options), await ask(MODEL, { ...options, keepWeights: false }));
    assertEquals((await Deno.stat(keptPath(model))).ino, ino, "what is kept is not written again");
    const init = { keepWeights: true, modelFolder: model } as const;
    const flagsOf = (changes: Partial<RankOptions>) =>
      STAR_PROGRAM.rankPermissions?.({ ...init, ...changes } as RankOptions);
    const path = keptPath(model);
    assertEquals(flagsOf({})?.(0), [`--allow-write=${path},${path}.tmp`]);
    assertEquals(flagsOf({})?.(1), []);
    assertEquals(flagsOf({ modelFolder: "a,b" })?.(0), ["--allow-write"]);
    assertEquals(flagsOf({ keepWeights: false }), undefined);
    assertEquals(flagsOf({ replica: { index: 1, count: 2 } }), undefined);
  }));

Deno.test("weights that cannot be kept end the run with the file's name", () =>
  inFolder({}, async (folder) => {
    await copyModel(folder);
    // Nothing can be renamed to a folder that is not empty.
    await Deno.mkdir(`${keptPath(folder)}/x`, { recursive: true });
    const error = await assertRejects(
      () => ask(folder, { weights: "int8", keepWeights: true }),
      FileError,
    );
    assert(error.message.includes("weights.int8.starx"), error.message);
    assertEquals((await names(folder)).filter((name) => name.endsWith(".tmp")), []);
  }));

Deno.test("a GPU is refused for 8-bit weights", async () => {
  await assertRejects(
    () => loadModel(MODEL, { device: "cuda", weights: "int8" }),
    UsageError,
    "Cannot compute on a GPU as 'weights' must be bf16 or fp8 where 'device' is cuda: current value is int8",
  );
});
