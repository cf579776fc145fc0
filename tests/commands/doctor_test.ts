import { type DoctorOptions, memoryFinding, runDoctor } from "../../commands/doctor/doctor.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { hostMemory } from "../../lib/device/host_memory.ts";
import { longestContext, longestGpuContext } from "../../lib/engine/host_plan.ts";
import { DeviceError, FileError, UsageError } from "../../lib/errors.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import { MODEL_CONFIGS } from "../../lib/model/shapes.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { fakeScreen } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const RUN: NonNullable<DoctorOptions["run"]> = {
  lengths: [],
  modes: ["dense", "star"],
  blockTokens: undefined,
  template: undefined,
  dtype: "bf16",
  processCount: 1,
};

/** What is printed about a model, also if it ends in an error. */
async function doctor(
  modelPath: string | undefined,
  run?: Partial<typeof RUN>,
): Promise<{ text: string; error: unknown }> {
  const screen = fakeScreen();
  const wish = run === undefined ? undefined : { ...RUN, ...run };
  const error = await runDoctor({ modelPath, run: wish, sourceDir: undefined }, screen)
    .then(() => undefined, (error) => error);
  return { text: screen.printed.join(""), error };
}

Deno.test("runDoctor() is about the machine where no model is named", async () => {
  const { text, error } = await doctor(undefined);
  assertEquals(error, undefined);
  for (const name of ["Machine", "Memory", "Library", "RULER"]) {
    assertMatch(text, new RegExp(`^(ok|!!)  ${name} `, "m"));
  }
  assert(!/^.. {2}(Model|CPU fit)/m.test(text), text);
});

Deno.test("runDoctor() says what STARX_ISA makes of this machine's CPU", async () => {
  const before = Deno.env.get("STARX_ISA");
  try {
    Deno.env.set("STARX_ISA", "avx2+sse");
    const wrong = await doctor(undefined);
    assert(wrong.error instanceof DeviceError, `${wrong.error}`);
    assertStringIncludes(wrong.text, "the environment's STARX_ISA must be one of auto");
    assertStringIncludes(wrong.text, "-> unset STARX_ISA, or name sets that this machine has\n");
    Deno.env.set("STARX_ISA", "avx2");
    const { text, error } = await doctor(undefined);
    assertEquals(error, undefined);
    assertStringIncludes(text, "uses avx2, by the environment's STARX_ISA\n");
  } finally {
    if (before === undefined) Deno.env.delete("STARX_ISA");
    else Deno.env.set("STARX_ISA", before);
  }
});

Deno.test("runDoctor() says up to how many tokens a model fits, mode by mode", async () => {
  const { text, error } = await doctor(MODEL, { lengths: [4096, 16384] });
  assertEquals(error, undefined);
  assertStringIncludes(text, "ok  Tokenizer ");
  assertStringIncludes(
    text,
    "ok  CPU fit   dense  all 16384 positions: 4096 yes, 16384 yes\n" +
      "              star   all 16384 positions (-bs 4096): 4096 yes, 16384 yes\n",
  );
  const beyond = await doctor(MODEL, { lengths: [4096, 20000] });
  assert(beyond.error instanceof DeviceError, `${beyond.error}`);
  assertStringIncludes(
    beyond.error.message,
    "Cannot run 20000 tokens here in any of these modes: at most 16384 tokens fit",
  );
  assertStringIncludes(beyond.text, "-> beyond 16384 positions (max_position_embeddings) only");
  assertStringIncludes(beyond.text, "4096 yes, 20000 no");
  const odd = await doctor(MODEL, { modes: ["starx"], blockTokens: 200 });
  assert(odd.error instanceof UsageError, `${odd.error}`);
});

Deno.test("runDoctor() names the limit of the control group", () => {
  const gib = 2 ** 30;
  const found = { totalBytes: 64 * gib, availableBytes: 3 * gib, limitBytes: 4 * gib };
  assertEquals(
    memoryFinding(found).text,
    "3.0 GiB available of 64.0 GiB, as the limit of the control group is 4.0 GiB",
  );
  const { limitBytes: _limit, ...free } = found;
  assertEquals(memoryFinding(free).text, "3.0 GiB available of 64.0 GiB");
  assertMatch(memoryFinding(undefined).text, /^unknown/);
});

/** A model of so many positions and so many bytes of weights, which take no room on the disk. */
async function withLargeModel(
  sizes: { positions: number; weightBytes: number },
  run: (folder: string) => Promise<void>,
): Promise<void> {
  const values = {
    ...MODEL_CONFIGS["llama-3.1-8b"],
    max_position_embeddings: sizes.positions,
  };
  await inFolder({ "config.json": JSON.stringify(values) }, async (folder) => {
    await Deno.symlink(`${MODEL}/tokenizer.json`, `${folder}/tokenizer.json`);
    using file = await Deno.open(`${folder}/model.safetensors`, { create: true, write: true });
    await file.truncate(sizes.weightBytes);
    await run(folder);
  });
}

Deno.test("runDoctor() finds the border of this machine's memory, and weights beyond it", async () => {
  const { availableBytes = 0 } = hostMemory() ?? {};
  const sizes = { positions: 2 ** 27, weightBytes: availableBytes + 2 ** 33 };
  await withLargeModel(sizes, async (folder) => {
    const { text, error } = await doctor(folder, { lengths: [1024], processCount: 2 });
    assertEquals(error, undefined);
    const [, dense = ""] = /dense {2}up to (\d+) tokens: 1024 yes/.exec(text) ?? [];
    // 32 layers of 2 x 8 heads of 128 numbers of 2 bytes.
    const most = availableBytes / (32 * 2 * 8 * 128 * 2);
    assert(Number(dense) > most / 3 && Number(dense) < 1.1 * most, text);
    assertMatch(text, /star {3}up to \d+ tokens \(-bs 4096, 2 processes\)/);
    assertMatch(text, /the weights take \d+\.\d GiB, more than is available/);
  });
});

Deno.test("runDoctor() finds a tokenizer that is missing or damaged", async () => {
  await withLargeModel({ positions: 4096, weightBytes: 1 }, async (folder) => {
    await Deno.remove(`${folder}/tokenizer.json`);
    const missing = await doctor(folder, {});
    assert(missing.error instanceof FileError, `${missing.error}`);
    assertMatch(
      missing.text,
      /^!! {2}Tokenizer .*tokenizer\.json.*\n +-> fetch the model's token/m,
    );
    // What else there is to say is said.
    assertMatch(missing.text, /CPU fit/);
    await Deno.writeTextFile(`${folder}/tokenizer.json`, "{}");
    const damaged = await doctor(folder, {});
    assert(damaged.error instanceof FileError, `${damaged.error}`);
    assertMatch(damaged.text, /^!! {2}Tokenizer .*\n +-> fetch it anew/m);
  });
});

Deno.test("runDoctor() finds a template that does not fit, and those that do", async () => {
  const wrong = await doctor(MODEL, { template: "mistral" });
  assertEquals(wrong.error, undefined);
  assertMatch(
    wrong.text,
    /^!! {2}Template {2}the tokenizer does not know <s> \[INST\] \[\/INST\] of the template 'mistral'/m,
  );
  assertMatch(wrong.text, /-> those that fit: llama3, /);
  assertStringIncludes((await doctor(MODEL, { template: "llama3" })).text, "Template  llama3 fits");
  const unknown = await doctor(MODEL, { template: "llama9" });
  assert(unknown.error instanceof UsageError, `${unknown.error}`);
  assertMatch((await doctor(MODEL, {})).text, /Template {2}--prompt_config that fit: llama3, /);
});

Deno.test("longestGpuContext() spreads the layers over as few GPUs as hold the most", () => {
  const config = modelShape("llama-3.1-8b");
  assert(config !== undefined);
  const plan = checkPlan({ mode: "dense" });
  const question = { config, plan, precision: PRECISIONS.bf16, processCount: 1, room: 256 };
  const longest = (gpus: number, gib: number, maxTokens = 2 ** 24) =>
    longestGpuContext(
      { ...question, freeBytes: Array.from({ length: gpus }, () => gib * 2 ** 30) },
      { maxTokens },
    );
  const one = longest(1, 24);
  const two = longest(2, 24);
  assert(one.tokens > 0 && two.tokens > 2 * one.tokens, `${one.tokens}, ${two.tokens}`);
  assertEquals([one.gpuCount, two.gpuCount], [1, 2]);
  assertEquals(longest(2, 24, 1024), { tokens: 1024, gpuCount: 1 });
  assertEquals(longest(1, 8).tokens, 0);
  const host = { ...question, contextTokens: 0, copyWeights: true };
  const available = (bytes: number) =>
    longestContext({ ...host, availableBytes: bytes }, { maxTokens: 2 ** 24 });
  assert(available(2 ** 35) > available(2 ** 34.9));
});

const gpuFolder = await buildFakeGpu();

Deno.test({
  name: "runDoctor() says what fits on GPUs",
  ignore: gpuFolder === undefined,
  fn: async () => {
    await withFakeGpu(gpuFolder, async () => {
      const { text, error } = await doctor(MODEL, { lengths: [4096], processCount: 2 });
      assertEquals(error, undefined);
      assertMatch(text, /^ok {2}GPU fit {3}dense {2}all 16384 positions: 4096 yes/m);
      assertMatch(text, /star {3}all 16384 positions \(-bs 4096, 2 processes\): 4096 yes/);
      const exact = await doctor(MODEL, { dtype: "f32" });
      assert(!exact.text.includes("GPU fit"), "a GPU takes bf16");
    }, { FAKE_GPUS: "2" });
  },
});
