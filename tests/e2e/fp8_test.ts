/**
 * Models with weights in e4m3: near those in bf16 on a CPU and on a GPU, the same bits whatever else runs,
 * and files that have e4m3 already, or are refused.
 *
 * @module
 */
import { loadModel, type LoadOptions } from "../../mod.ts";
import { readConfig } from "../../lib/model/config.ts";
import { DeviceError, FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { inFolder } from "../helpers/folder.ts";
import { compressedFp8, fbgemmFp8, writeFp8Folder } from "../helpers/fp8_folders.ts";
import { cosine, type FirstLogits, firstLogits } from "../helpers/first_logits.ts";
import { MODEL } from "../helpers/prompts.ts";

const gpu = await buildFakeGpu();
const CONTEXT = "The grass is green. The sky is blue. The sun is yellow.\n".repeat(30);
const PROMPT = { context: CONTEXT, query: "The sky is" };

function ask(folder: string, options: LoadOptions = {}): Promise<FirstLogits> {
  return firstLogits(folder, PROMPT, options);
}

const FP8 = { weights: "fp8" } as const;
const STAR = { mode: "star", blockTokens: 128, ...FP8 } as const;

Deno.test("weights in e4m3 give nearly bf16's logits on a CPU, with any threads and processes", async () => {
  const exact = await ask(MODEL);
  const rounded = await ask(MODEL, FP8);
  assertGreater(cosine(exact.logits, rounded.logits), 0.997);
  assert(String(rounded.logits) !== String(exact.logits), "8 bits must round");
  assertEquals(rounded.ids, exact.ids);
  const all = await ask(MODEL, { ...FP8, head: "fp8" });
  assertGreater(cosine(exact.logits, all.logits), 0.995);
  assert(String(all.logits) !== String(rounded.logits), "a head in 8 bits must round, too");
  const expected = await ask(MODEL, STAR);
  assertEquals(await ask(MODEL, { ...STAR, threads: 2 }), expected);
  assertEquals(await ask(MODEL, { ...STAR, processCount: 2 }), expected);
});

Deno.test({
  name: "weights in e4m3 give nearly bf16's logits on a GPU, the same ones in any batch",
  ignore: gpu === undefined,
  fn: () =>
    withFakeGpu(gpu, async () => {
      const exact = await ask(MODEL, { device: "cuda" });
      const rounded = await ask(MODEL, { ...FP8, device: "cuda" });
      assertGreater(cosine(exact.logits, rounded.logits), 0.997);
      // There the activations of the context are rounded, too.
      const onCpu = await ask(MODEL, FP8);
      assert(String(rounded.logits) !== String(onCpu.logits));
      const all = await ask(MODEL, { ...FP8, head: "fp8", device: "cuda" });
      assert(String(all.logits) !== String(rounded.logits), "a head in 8 bits must round, too");
      await using model = await loadModel(MODEL, { ...FP8, device: "cuda", batchSize: 3 });
      const queries = ["The grass is", PROMPT.query, "The sun is"];
      const answers = await Promise.all(
        queries.map((query) => model.generate({ ...PROMPT, query }, { tokensToGenerate: 6 })),
      );
      assertEquals(answers[1]?.ids, rounded.ids);
    }),
});

Deno.test({
  name: "a GPU without products of e4m3 refuses weights in e4m3",
  ignore: gpu === undefined,
  fn: () =>
    withFakeGpu(gpu, async () => {
      await assertRejects(
        () => ask(MODEL, { ...FP8, device: "cuda" }),
        DeviceError,
        "(sm_89) as they must be bf16: current value is fp8",
      );
      assertEquals(await ask(MODEL, { ...FP8, device: "auto" }), await ask(MODEL, FP8));
    }, { FAKE_GPU_CAPABILITY: "89" }),
});

Deno.test("weights that files have in e4m3 are taken as they are", () =>
  inFolder({}, async (folder) => {
    const expected = await ask(MODEL, FP8);
    await writeFp8Folder(MODEL, `${folder}/compressed`, { config: compressedFp8() });
    assertEquals(await ask(`${folder}/compressed`), expected);
    assertEquals(await ask(`${folder}/compressed`, { copyWeights: true }), expected);
    await writeFp8Folder(MODEL, `${folder}/fbgemm`, { config: fbgemmFp8() });
    assertEquals(await ask(`${folder}/fbgemm`), expected);
    await withFakeGpu(gpu, async () => {
      if (gpu === undefined) return;
      const rounded = await ask(MODEL, { ...FP8, device: "cuda" });
      assertEquals(await ask(`${folder}/fbgemm`, { device: "cuda" }), rounded);
    });
    // Widened to bf16 they are near; so are int8 weights made of them.
    for (const weights of ["bf16", "int8"] as const) {
      const { logits } = await ask(`${folder}/compressed`, { weights });
      assertGreater(cosine(expected.logits, logits), 0.999);
      assert(String(logits) !== String(expected.logits));
    }
  }));

Deno.test("matrices that a configuration leaves out stay in bf16", () =>
  inFolder({}, async (folder) => {
    const ignored = /layers\.0\.|down_proj/;
    const names = ["lm_head", "model.layers.0", "re:.*mlp\\.down_proj$"];
    const options = { config: compressedFp8(names), scales: "BF16", ignored } as const;
    await writeFp8Folder(MODEL, folder, options);
    const { floatWeights = [], storedWeights } = await readConfig(folder);
    assertEquals(storedWeights, "fp8");
    assert(floatWeights.includes("model.layers.0.self_attn.q_proj.weight"));
    assert(floatWeights.includes("model.layers.1.mlp.down_proj.weight"));
    assert(!floatWeights.includes("model.layers.1.mlp.up_proj.weight"));
    const exact = await ask(MODEL);
    const found = await ask(folder);
    assertGreater(cosine(exact.logits, found.logits), 0.998);
    assert(String(found.logits) !== String(exact.logits));
    await withFakeGpu(gpu, async () => {
      if (gpu === undefined) return;
      const onGpu = await ask(folder, { device: "cuda" });
      assertGreater(cosine(exact.logits, onGpu.logits), 0.997);
    });
  }));

Deno.test("files in e4m3 of another form are refused by name", () =>
  inFolder({}, async (folder) => {
    const refuse = async (config: Readonly<Record<string, unknown>>, text: string) => {
      await writeFp8Folder(MODEL, folder, { config });
      await assertRejects(() => ask(folder), FileError, text);
    };
    await refuse({ quant_method: "fp8" }, "'quantization_config.quant_method'");
    await refuse({ ...compressedFp8(), format: "pack-quantized" }, "'quantization_config.format'");
    await refuse(fbgemmFp8(["re:(", "lm_head"]), "must be an array of names and expressions");
    const groups = structuredClone(compressedFp8()) as {
      config_groups: { group_0: { weights: { strategy: string } } };
    };
    groups.config_groups.group_0.weights.strategy = "tensor";
    await refuse({ ...groups }, "weights.strategy' in");
    const name = "model.layers.1.mlp.up_proj.weight";
    const change = (each: string, codes: Uint8Array) => {
      if (each === name) codes[codes.length - 5] = 0xff;
    };
    await writeFp8Folder(MODEL, folder, { config: compressedFp8(), change });
    await assertRejects(() => ask(folder), FileError, `${name} must hold finite numbers`);
    await assertRejects(
      () => ask(folder, { weights: "e5m2" as "fp8" }),
      UsageError,
      "'weights'",
    );
  }));
