import { runInfer } from "../../commands/infer/infer.ts";
import type { InferOptions } from "../../commands/infer/options.ts";
import { FileError, RequestError, UsageError, WorkerError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
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

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
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
    await Deno.writeTextFile(`${folder}/in.jsonl`, INPUT.replace('"x"', '"z"'));
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

Deno.test("runInfer() takes prompts without answers, and RULER's form", async () => {
  const lines = [
    { input_context: "c", input_query: "q" },
    { index: 1, input: "a prompt", answer_prefix: "Answer:", outputs: ["x"] },
  ];
  const input = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
  await inFolder({ "in.jsonl": input }, async (folder) => {
    const models = fakeModels(() => " \n an answer\t ");
    await infer(optionsIn(folder), models);
    const text = await Deno.readTextFile(`${folder}/out/pred.jsonl`);
    const records = text.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(records.map(({ pred, outputs }) => [pred, outputs]), [
      ["an answer", [null]],
      ["an answer", ["x"]],
    ]);
    assertEquals(models.asked[1]?.prompt.context, "a prompt");
    assertEquals(models.asked[1]?.prompt.query, "Answer:");
    const again = echo();
    await infer(optionsIn(folder), again);
    assertEquals(again.loads, []);
  });
});

Deno.test("runInfer() puts a template around prompts and ends at the model's end-of-sequence ids", async () => {
  await inFolder({ "in.jsonl": sample() }, async (folder) => {
    const models = echo();
    await infer(optionsIn(folder, { template: "llama3", stopWords: ["x"] }), models);
    const { prompt, options } = models.asked[0] ?? {};
    assert(prompt?.context.endsWith("<|start_header_id|>user<|end_header_id|>\n\nc"));
    assert(prompt?.query.startsWith("q<|eot_id|>"));
    assertEquals(options?.stopWords?.slice(0, 2), ["x", "<|end_of_text|>"]);
    const { eosTokenIds } = await readConfig(MODEL);
    assert(eosTokenIds.length > 0);
    assertEquals(options?.endIds, eosTokenIds);
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/out/pred.jsonl`)).input_query, "q");
    const ignoring = echo();
    await infer(optionsIn(folder, { ignoreEos: true, outputPath: `${folder}/b` }), ignoring);
    assertEquals(ignoring.asked[0]?.options.endIds, []);
  });
});

/** What an output may have been made into, and what is said about it. */
const FOREIGN: readonly (readonly [change: (lines: string[]) => string[], message: string])[] = [
  [(lines) => [...lines, lines[0] ?? ""], "line 4 repeats a sample that another line holds"],
  [(lines) => lines.map((line) => line.replace('"index": 6', '"index": 7')), "line 3 holds index"],
  [(lines) => lines.map((line) => line.replace('"c"', '"other"')), "line 1 holds index, context"],
];

Deno.test("runInfer() appends nothing behind records that are not of its samples", async () => {
  for (const [change, message] of FOREIGN) {
    await inFolder({ "in.jsonl": INPUT }, async (folder) => {
      const path = `${folder}/out/pred.jsonl`;
      await infer(optionsIn(folder), echo());
      const lines = (await Deno.readTextFile(path)).trim().split("\n");
      const changed = change(lines).map((line) => `${line}\n`).join("");
      await Deno.writeTextFile(path, changed);
      await assertRejects(() => infer(optionsIn(folder), echo()), FileError, message);
      assertEquals(await Deno.readTextFile(path), changed);
    });
  }
});

Deno.test("runInfer() continues a file that ends in blank lines", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const path = `${folder}/out/pred.jsonl`;
    await infer(optionsIn(folder, { sampleLimit: 2 }), echo());
    await Deno.writeTextFile(path, "\n\n", { append: true });
    await infer(optionsIn(folder), fakeModels(() => "answer 2"));
    assertEquals(await Deno.readTextFile(path), OUTPUT);
  });
});

Deno.test("runInfer() binds nobody by a run that finished no sample, and overwrites if told so", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const failing = fakeModels(() => {
      throw new WorkerError("lost", { rank: 0, phase: "phase 1" });
    });
    await assertRejects(() => infer(optionsIn(folder), failing), WorkerError);
    await infer(optionsIn(folder, { tokensToGenerate: 9 }), echo());
    await assertRejects(() => infer(optionsIn(folder), echo()), UsageError, "--tokens_to_generate");
    await infer(optionsIn(folder, { overwrite: true }), echo());
    assertEquals(await Deno.readTextFile(`${folder}/out/pred.jsonl`), OUTPUT);
  });
});

Deno.test("runInfer() refuses a second run on the same output before a model is loaded", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const first = Promise.withResolvers<void>();
    const second = echo();
    const models = fakeModels((_, index) => `answer ${index}`);
    const slow: FakeModels["load"] = async (...args) => {
      await first.promise;
      return await models.load(...args);
    };
    const screen = fakeScreen();
    const running = runInfer(optionsIn(folder), {
      screen,
      cleanup: NO_INTERRUPTS,
      loadModel: slow,
    });
    const lock = `${folder}/out/pred.jsonl.lock`;
    while (!(await Deno.stat(lock).then(({ size }) => size > 0, () => false))) await delay(5);
    const error = await assertRejects(() => infer(optionsIn(folder), second), UsageError);
    assert(error.message.startsWith("--output_path: is in use by another run: process "));
    assertEquals(second.loads, []);
    first.resolve();
    await running;
    assertEquals(await Deno.readTextFile(`${folder}/out/pred.jsonl`), OUTPUT);
    assertEquals(await Deno.stat(lock).catch(() => undefined), undefined);
  });
});

Deno.test("runInfer() keeps every entry of run.json when many outputs of a folder end at once", async () => {
  await inFolder({ "in.jsonl": INPUT }, async (folder) => {
    const names = Array.from({ length: 12 }, (_, index) => `${index}.jsonl`);
    await Promise.all(
      names.map((name) =>
        infer(optionsIn(folder, { outputPath: `${folder}/out/${name}` }), echo())
      ),
    );
    const { outputs } = JSON.parse(await Deno.readTextFile(`${folder}/out/run.json`));
    assertEquals(Object.keys(outputs).sort(), names.sort());
  });
});

Deno.test("runInfer() ends when its input, its output or the model changes under it", async () => {
  const cases: readonly (readonly [change: (folder: string) => Promise<void>, message: string])[] =
    [
      [
        (folder) => Deno.writeTextFile(`${folder}/in.jsonl`, INPUT.replaceAll('"c"', '"d"')),
        "in.jsonl as it changed while the run went on: line 2 is another one",
      ],
      [(folder) => Deno.remove(`${folder}/out/pred.jsonl`), "pred.jsonl as it was removed"],
      [
        (folder) => Deno.utime(`${folder}/model/model.safetensors`, 1, 1),
        "model.safetensors as it changed while the model was in use: its time of change was",
      ],
    ];
  for (const [change, message] of cases) {
    await inFolder({ "in.jsonl": INPUT, "model/x": "" }, async (folder) => {
      for await (const { name, isFile } of Deno.readDir(MODEL)) {
        if (isFile) await Deno.copyFile(`${MODEL}/${name}`, `${folder}/model/${name}`);
      }
      const pending: Promise<void>[] = [];
      const models = fakeModels((_, index) => {
        if (index === 1) pending.push(change(folder));
        return `answer ${index}`;
      });
      // A file that is read in one piece has to change before its second line is taken.
      const options = optionsIn(folder, { modelPath: `${folder}/model` });
      const large = INPUT.split("\n").filter((line) => line !== "")
        .map((line) => line.replace("{", `{"pad": "${"x".repeat(1 << 19)}", `)).join("\n");
      await Deno.writeTextFile(options.inputPath, `${large}\n`);
      await assertRejects(
        async () => {
          await infer(options, models);
          await Promise.all(pending);
        },
        FileError,
        message.replace("line 2", "line 3"),
      );
      const copied = echo();
      if (message.includes("model.safetensors")) {
        const outputPath = `${folder}/copied.jsonl`;
        await infer({ ...options, outputPath, copyWeights: true }, copied);
        assertEquals(copied.asked.length, 3);
      }
    });
  }
});

Deno.test("runInfer() refuses pipes and folders in place of its input at once", async () => {
  await inFolder({ "folder/x": "" }, async (folder) => {
    await new Deno.Command("mkfifo", { args: [`${folder}/pipe`] }).output();
    for (const name of ["pipe", "folder"]) {
      await assertRejects(
        () => infer(optionsIn(folder, { inputPath: `${folder}/${name}` }), echo()),
        FileError,
        `Cannot read ${folder}/${name}: it is not a file`,
      );
    }
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
  ['{"input": "c"}', "needs a text in 'answer_prefix' beside 'input'"],
  [`{"input_context": "c", "input_query": "q", "index": ${"1".repeat(4301)}}`, "4300 digits"],
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
