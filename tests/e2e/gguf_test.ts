/**
 * Models in GGUF form: the logits of llama.cpp for the same files, the bits of the same model in a
 * folder, and all that reads a model's path.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { FileError } from "../../lib/errors.ts";
import { modelDigest, tokenizerDigest } from "../../lib/model/digest.ts";
import { readModel } from "../../lib/model/read_model.ts";
import { convertedWeightBytes } from "../../lib/model/weight_memory.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { WeightGuard } from "../../lib/model/weight_guard.ts";
import { openWeightFiles } from "../../lib/model/weight_files.ts";
import { findWeight } from "../../lib/model/weight_lookup.ts";
import { writeGguf } from "../../scripts/gguf.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
} from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { type FamilyRun, runFamily } from "../helpers/families.ts";
import { inFolder } from "../helpers/folder.ts";
import { bytePairVocabulary } from "../helpers/gguf_vocabulary.ts";
import { GGUF_CASES, GGUF_IDS, type GgufGolden, makeGgufModel } from "../../scripts/gguf_cases.ts";
import { MODEL } from "../helpers/prompts.ts";
import { runScript } from "../helpers/script.ts";

/** Of llama.cpp's logits, in their standard deviations: its own are 3e-5 off transformers'. */
const EXACT = 2e-4;
/** llama.cpp rounds activations to the weights' type, here they are f32. */
const ROUNDED = { f32: EXACT, f16: 5e-3, bf16: 0.05, q8_0: 0.15 } as const;

const golden: readonly GgufGolden[] = JSON.parse(
  await Deno.readTextFile(new URL("../golden/gguf.json", import.meta.url)),
);

async function logitsOf(model: string, run: FamilyRun = {}): Promise<number[]> {
  const result = await runFamily(model, { ids: GGUF_IDS, tokensToGenerate: 1, ...run });
  const logits: number[] = [];
  for (const [id, logit] of result.topLogits) logits[id] = logit;
  return logits;
}

function deviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/** The largest distance, in standard deviations of the expected values. */
function distance(found: readonly number[], expected: readonly number[]): number {
  assertEquals(found.length, expected.length);
  const differences = expected.map((value, i) => Math.abs(value - (found[i] ?? NaN)));
  return Math.max(...differences) / deviation(expected);
}

for (const [name, type] of GGUF_CASES) {
  Deno.test(`a GGUF file gives llama.cpp's logits: ${name} in ${type}`, async () => {
    const expected = golden.find((entry) => entry.name === name && entry.type === type);
    assert(expected !== undefined, "the golden must hold the case");
    await inFolder({}, async (folder) => {
      const path = await makeGgufModel(folder, { name, type });
      const sha256 = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
      assertEquals(sha256, expected.sha256, "the file must be the one that llama.cpp read");
      const logits = await logitsOf(path);
      assert(distance(logits, expected.exact) <= EXACT, `${distance(logits, expected.exact)}`);
      assert(distance(logits, expected.own) <= ROUNDED[type], `${distance(logits, expected.own)}`);
      if (type !== "f32") return;
      const same = await logitsOf(folder);
      // Divisors of Llama 3's frequencies are rounded in the file.
      if (name === "llama") assert(distance(logits, same) <= EXACT);
      else assertEquals(logits, same);
    });
  });
}

Deno.test("a GGUF file computes in bf16, and on several ranks, as a folder does", async () => {
  await inFolder({}, async (folder) => {
    const path = await makeGgufModel(folder, { name: "llama with biases", type: "f32" });
    const plan = { mode: "star", blockTokens: 128 } as const;
    for (const run of [{ dtype: "bf16" }, { plan, processCount: 2 }] as const) {
      assertEquals(await logitsOf(path, run), await logitsOf(folder, run));
    }
  });
});

const fakeGpu = await buildFakeGpu();
Deno.test({
  name: "a GGUF file's weights come onto a GPU as a folder's do",
  ignore: fakeGpu === undefined,
  fn: () =>
    withFakeGpu(fakeGpu ?? "", async () => {
      for (const [name, type] of [["llama", "q8_0"], ["phi3", "f32"]] as const) {
        await inFolder({}, async (folder) => {
          const path = await makeGgufModel(folder, { name, type });
          const run = { device: "cuda", dtype: "bf16" } as const;
          const onHost = await logitsOf(path, { dtype: "bf16" });
          assert(distance(await logitsOf(path, run), onHost) <= 0.1);
        });
      }
    }),
});

Deno.test("matrices in bf16 stay mapped, but for reordered rows; others count as converted", async () => {
  await inFolder({}, async (folder) => {
    const path = await makeGgufModel(folder, { name: "llama", type: "bf16" });
    const config = await readModel(path);
    using files = await openWeightFiles(path);
    const isMapped = (part: string) => {
      const name = `model.layers.0.${part}.weight`;
      const spec = { name, shape: files.entries.get(name)?.shape ?? [] };
      return findWeight(files, { spec, folder: path }).isMapped;
    };
    assertEquals(["self_attn.v_proj", "mlp.up_proj"].map(isMapped), [true, true]);
    assertEquals(["self_attn.q_proj", "self_attn.k_proj"].map(isMapped), [false, false]);
    const { hiddenSize, layerCount, queryHeads, kvHeads, ownHeadDim } = config;
    const rows = (queryHeads + kvHeads) * ownHeadDim;
    const norms = (2 * layerCount + 1) * hiddenSize;
    const expected = 2 * (layerCount * rows * hiddenSize + norms);
    assertEquals(
      await convertedWeightBytes(path, { config, precision: PRECISIONS.bf16 }),
      expected,
    );
  });
});

/** Writes the shipped model as GGUF with its own vocabulary. */
async function writeTiny(path: string): Promise<void> {
  const json = JSON.parse(await Deno.readTextFile(`${MODEL}/tokenizer.json`));
  const template =
    "{{ bos_token }}{% for message in messages %}[{{ message['content'] }}]{% endfor %}";
  const vocabulary = [
    ...bytePairVocabulary(json, "llama-bpe"),
    ["tokenizer.chat_template", "text", template] as const,
  ];
  await writeGguf(path, MODEL, { type: "bf16", vocabulary });
}

Deno.test("infer, doctor and ruler take a GGUF file in place of a folder", async () => {
  const line = JSON.stringify({
    input_context: "The grass is green. The magic number is: 4815162.\n".repeat(40),
    input_query: "The magic number is:",
    outputs: [],
  });
  await inFolder({ "in.jsonl": line }, async (folder) => {
    const path = `${folder}/tiny.gguf`;
    await writeTiny(path);
    const permissions = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
    const starx = (...args: readonly string[]) =>
      runScript("cli.ts", args, { env: {}, permissions });
    const answers: unknown[] = [];
    for (const model of [MODEL, path]) {
      const out = `${folder}/out-${answers.length}.jsonl`;
      const flags = ["-p", model, "-a", "star", "-bs", "128", "-np", "2", "--device", "cpu"];
      const paths = ["--input_path", `${folder}/in.jsonl`, "--output_path", out];
      const { code, stderr } = await starx(
        "infer",
        ...flags,
        ...paths,
        "--tokens_to_generate",
        "8",
      );
      assertEquals(code, 0, stderr);
      answers.push(JSON.parse(await Deno.readTextFile(out)).pred);
    }
    assertEquals(answers[1], answers[0]);
    const { stdout } = await starx("doctor", "-p", path, "-l", "1024");
    assertMatch(stdout, /^ok {2}Model .*tiny\.gguf: 6 layers/m);
    assertMatch(stdout, /^ok {2}Tokenizer .*tiny\.gguf/m);
    assertMatch(stdout, /chat \(the model's own\)/);
    const flags = [
      "-n",
      "tiny",
      "-p",
      path,
      "-pc",
      "chat",
      "-a",
      "dense",
      "-l",
      "1024",
      "-t",
      "vt",
    ];
    const counts = ["--num_samples_per_task", "1", "--output_dir", `${folder}/results`];
    const { code, stderr } = await starx("ruler", ...flags, ...counts, "--device", "cpu");
    assertEquals(code, 0, stderr);
  });
});

/** What is no model, and the end of the line about it. */
const DAMAGED: readonly (readonly [
  fault: string,
  damage: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
  line: RegExp,
])[] = [
  [
    "cut in its header",
    (bytes) => bytes.slice(0, 1000),
    /m\.gguf as its 976 bytes behind byte 24 hold at most 30 tensors: current value is 56$/,
  ],
  [
    "cut in its last tensor",
    (bytes) => bytes.slice(0, -4096),
    /m\.gguf as tensor "blk\.5\.\w+\.weight" needs \d+ bytes at byte \d+: the file ends at/,
  ],
  ["of another kind", (bytes) => bytes.slice(4), /m\.gguf as a GGUF file must begin with "GGUF"/],
];

Deno.test("a damaged GGUF file ends a run with one line and exit code 3", async () => {
  const line = JSON.stringify({ input_context: "a", input_query: "b", outputs: [] });
  await inFolder({ "in.jsonl": line }, async (folder) => {
    const path = `${folder}/m.gguf`;
    await writeTiny(path);
    const bytes = await Deno.readFile(path);
    for (const [fault, damage, expected] of DAMAGED) {
      await Deno.writeFile(path, damage(bytes));
      const permissions = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
      const paths = ["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`];
      const { code, stdout, stderr } = await runScript(
        "cli.ts",
        ["infer", "-p", path, "-a", "dense", "--tokens_to_generate", "2", ...paths],
        { env: {}, permissions },
      );
      assertEquals([code, stdout], [3, ""], `${fault}: ${stderr}`);
      assertMatch(stderr.trim(), expected);
      assertEquals(stderr.trim().split("\n").length, 1, stderr);
    }
  });
});

Deno.test("digests tell GGUF files apart by weights, tables, and a tokenizer beside them", async () => {
  await inFolder({}, async (folder) => {
    const path = `${folder}/tiny.gguf`;
    await writeTiny(path);
    const first = [await modelDigest(path), await tokenizerDigest(path)];
    const bytes = await Deno.readFile(path);
    const last = bytes.length - 1;
    bytes[last] = (bytes[last] ?? 0) ^ 1;
    await Deno.writeFile(path, bytes);
    const changed = [await modelDigest(path), await tokenizerDigest(path)];
    assertNotEquals(changed[0], first[0]);
    assertEquals(changed[1], first[1]);
    await Deno.copyFile(`${MODEL}/tokenizer.json`, `${folder}/tokenizer.json`);
    assertNotEquals(await modelDigest(path), changed[0]);
    assertEquals(await tokenizerDigest(path), await tokenizerDigest(MODEL));
    const guard = await WeightGuard.open(path);
    await guard.check();
    await Deno.truncate(path, last);
    await assertRejects(() => guard.check(), FileError, "tiny.gguf");
  });
});
