import { type InferOptions, runInfer } from "../../commands/infer/infer.ts";
import { FileError, RequestError, UsageError, WorkerError } from "../../lib/errors.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { type FakeModels, fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";

function sample(changes: Record<string, unknown> = {}): string {
  return `${JSON.stringify({ input_context: "c", input_query: "q", output: "o", ...changes })}\n`;
}

const INPUT = sample({ index: 4, length: 12, others: { id: 1 } }) +
  sample({ index: "é", outputs: ["x", "y"], truncation: 1.0 }) + sample({ index: 6 });

/** What the original writes about them, in Python's JSON. */
const OUTPUT = '{"index": 4, "pred": "answer 0", "input_context": "c", "input_query": "q", ' +
  '"outputs": ["o"], "others": {"id": 1}, "truncation": -1, "length": 12}\n' +
  '{"index": "\\u00e9", "pred": "answer 1", "input_context": "c", "input_query": "q", ' +
  '"outputs": ["x", "y"], "others": {}, "truncation": 1, "length": -1}\n' +
  '{"index": 6, "pred": "answer 2", "input_context": "c", "input_query": "q", ' +
  '"outputs": ["o"], "others": {}, "truncation": -1, "length": -1}\n';

function optionsIn(folder: string, changes: Partial<InferOptions> = {}): InferOptions {
  return {
    modelPath: MODEL,
    plan: STAR,
    device: "auto",
    dtype: "bf16",
    processCount: 2,
    threads: 0,
    timeoutMs: 60_000,
    inputPath: `${folder}/in.jsonl`,
    outputPath: `${folder}/out/pred.jsonl`,
    sampleLimit: -1,
    tokensToGenerate: 2,
    stopWords: [],
    topLogits: 0,
    ...changes,
  };
}

async function infer(options: InferOptions, models: FakeModels): Promise<string[]> {
  const screen = fakeScreen();
  await runInfer(options, { screen, cleanup: NO_INTERRUPTS, loadModel: models.load });
  return screen.logged;
}

function echo(): FakeModels {
  return fakeModels((_, index) => `answer ${index}`);
}

Deno.test("runInfer() writes the original's records", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const models = echo();
    await infer(optionsIn(folder), models);
    assertEquals(await Deno.readTextFile(`${folder}/out/pred.jsonl`), OUTPUT);
    assertEquals([models.loads, models.openCount], [[2], 0]);
  });
});

Deno.test("runInfer() adds logits and ids if they are asked for", async () => {
  await inFolder({ "in.jsonl": sample() }, async (folder) => {
    await infer(optionsIn(folder, { topLogits: 2 }), echo());
    const record = JSON.parse(await Deno.readTextFile(`${folder}/out/pred.jsonl`));
    assertEquals(record.top_logits, [[5, 1.5], [3, -2]]);
    assertEquals(record.generated_ids, [5, 6]);
    assertEquals(record.index, -1);
  });
});

Deno.test("runInfer() continues after the finished samples, whatever was cut off", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const path = `${folder}/out/pred.jsonl`;
    const lost = fakeModels((_, index) => {
      if (index === 1) throw new WorkerError("lost", { rank: 1, phase: "phase 1" });
      return "first";
    });
    await assertRejects(() => infer(optionsIn(folder), lost), WorkerError, "lost");
    assertEquals(lost.openCount, 0);
    await Deno.writeTextFile(path, '{"index": "é", "pr', { append: true });
    const models = echo();
    await infer(optionsIn(folder, { processCount: 3, threads: 2 }), models);
    const lines = (await Deno.readTextFile(path)).trim().split("\n");
    assertEquals(lines.map((line) => JSON.parse(line).pred), ["first", "answer 0", "answer 1"]);
    const again = echo();
    await infer(optionsIn(folder), again);
    assertEquals(again.loads, []);
  });
});

Deno.test("runInfer() counts records where samples have no index", async () => {
  await inFolder({ "in.jsonl": sample() + sample() + sample() }, async (folder) => {
    await infer(optionsIn(folder, { sampleLimit: 2 }), echo());
    const models = echo();
    await infer(optionsIn(folder), models);
    assertEquals(models.asked.length, 1);
  });
});

const CHANGES: readonly (readonly [name: string, change: Partial<InferOptions>])[] = [
  ["--block_size", { plan: { ...STAR, blockTokens: 512 } }],
  ["--attn_type", { plan: { ...STAR, mode: "dense" } }],
  ["--merge", { plan: { ...STAR, merge: "antidiagonal" } }],
  ["--dtype", { dtype: "f32" }],
  ["--tokens_to_generate", { tokensToGenerate: 3 }],
  ["--stop_words", { stopWords: ["a"] }],
  ["--top_logits", { topLogits: 1 }],
];

Deno.test("runInfer() refuses to continue with another option and names it", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    await infer(optionsIn(folder, { sampleLimit: 1 }), echo());
    const before = await Deno.readTextFile(`${folder}/out/pred.jsonl`);
    const record = await Deno.readTextFile(`${folder}/out/run.json`);
    for (const [name, change] of CHANGES) {
      const models = echo();
      await assertRejects(
        () => infer(optionsIn(folder, change), models),
        UsageError,
        `${name}: cannot continue the results in ${folder}/out/pred.jsonl`,
      );
      assertEquals(models.loads, []);
    }
    await Deno.writeTextFile(`${folder}/in.jsonl`, INPUT + sample());
    await assertRejects(() => infer(optionsIn(folder), echo()), UsageError, "data of input: ");
    assertEquals(await Deno.readTextFile(`${folder}/out/pred.jsonl`), before);
    assertEquals(await Deno.readTextFile(`${folder}/out/run.json`), record);
  });
});

Deno.test("runInfer() keeps two outputs in one folder apart", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    await infer(optionsIn(folder), echo());
    const outputPath = `${folder}/out/other.jsonl`;
    await infer(optionsIn(folder, { outputPath, tokensToGenerate: 5 }), echo());
    const { outputs } = JSON.parse(await Deno.readTextFile(`${folder}/out/run.json`));
    assertEquals(Object.keys(outputs), ["pred.jsonl", "other.jsonl"]);
  });
});

Deno.test("runInfer() refuses results that nothing describes", async () => {
  await inFolder({ "in.jsonl": INPUT, "out/pred.jsonl": "{}\n" }, async (folder) => {
    await assertRejects(
      () => infer(optionsIn(folder), echo()),
      UsageError,
      "--output_path: must not hold results that ",
    );
    assertEquals(await Deno.readTextFile(`${folder}/out/pred.jsonl`), "{}\n");
  });
});

const BAD_LINES: readonly (readonly [line: string, message: string])[] = [
  ['{"input_context": ', "in.jsonl: line 2 is not JSON ("],
  ["[]", "in.jsonl: line 2 is not a JSON object"],
  ['{"input_context": "c", "output": ""}', "in.jsonl: line 2 needs a text in 'input_query'"],
  ['{"input_context": 1, "input_query": "q", "output": ""}', "a text in 'input_context'"],
  ['{"input_context": "c", "input_query": "q"}', "line 2 lacks 'outputs' or 'output'"],
  [`\n${sample().trim()}`, "in.jsonl: line 2 is blank"],
];

Deno.test("runInfer() names file and line of bad input before a model is loaded", async () => {
  for (const [line, message] of BAD_LINES) {
    await inFolder({ "in.jsonl": `${sample()}${line}\n` }, async (folder) => {
      const models = echo();
      await assertRejects(() => infer(optionsIn(folder), models), FileError, message);
      assertEquals(models.loads, []);
    });
  }
});

Deno.test("runInfer() reports a prompt that is too long as its file's fault", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const models = fakeModels(() => {
      throw new RequestError("Cannot run sample 1 as it is too long");
    });
    await assertRejects(
      () => infer(optionsIn(folder), models),
      FileError,
      `Cannot run sample 1 as it is too long (${folder}/in.jsonl)`,
    );
  });
});

Deno.test("runInfer() says that modes without blocks use one process", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const models = echo();
    const logged = await infer(optionsIn(folder, { plan: { ...STAR, mode: "xattn" } }), models);
    assertEquals(models.loads, [1]);
    assertEquals(logged[0], "--nproc_per_node: xattn uses one process, not 2");
  });
});

Deno.test("runInfer() reports a folder that cannot be written before a model is loaded", async () => {
  await inFolder({ "in.jsonl": INPUT, "out": "a file" }, async (folder) => {
    const models = echo();
    await assertRejects(
      () => infer(optionsIn(folder), models),
      FileError,
      `Cannot write to ${folder}/out: `,
    );
    assertEquals(models.loads, []);
  });
});
