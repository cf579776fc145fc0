import { PERPLEXITY } from "../../commands/perplexity/command.ts";
import { type PerplexityOptions, runPerplexity } from "../../commands/perplexity/perplexity.ts";
import { formatPerplexities, tidyRow } from "../../commands/perplexity/results.ts";
import { placeSpans } from "../../commands/perplexity/windows.ts";
import { FileError, UsageError, WorkerError } from "../../lib/errors.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const TEXT = Array.from(
  { length: 60 },
  (_, i) => `One of the special magic numbers for place-${i} is: ${1000000 + 37 * i}.`,
).join("\n");

function optionsIn(folder: string, changes: Partial<PerplexityOptions> = {}): PerplexityOptions {
  return {
    modelPath: MODEL,
    inputPath: `${folder}/text`,
    modes: ["dense"],
    plan: { blockTokens: 128 },
    lengths: [200, 400],
    spanTokens: 20,
    spanCount: 3,
    prefix: "",
    device: "cpu",
    dtype: "f32",
    processCount: 1,
    threads: 1,
    format: "table",
    outputPath: undefined,
    ...changes,
  };
}

Deno.test("placeSpans() scores the same tokens at every length, none of them twice", () => {
  const text = { tokens: 1000, name: "text" };
  const spans = placeSpans(text, { longest: 400, spanTokens: 50, count: 4 });
  assertEquals(spans.map(({ end }) => end), [400, 600, 800, 1000]);
  assert(spans.every(({ start, end }) => end - start === 50));
  const many = placeSpans(text, { longest: 400, spanTokens: 50, count: 1000 });
  assertEquals(many.length, 13);
  for (const [i, { start }] of many.entries()) assert(i === 0 || start >= (many[i - 1]?.end ?? 0));
  const one = placeSpans({ ...text, tokens: 420 }, { longest: 400, spanTokens: 50, count: 4 });
  assertEquals(one, [{ start: 350, end: 400 }]);
  assertThrows(
    () => placeSpans({ ...text, tokens: 399 }, { longest: 400, spanTokens: 50, count: 4 }),
    FileError,
    "Cannot use text as it must have at least 400 tokens, the greatest of --seq_lengths: found 399",
  );
});

Deno.test("runPerplexity() is what score() finds of each span, in every mode", async () => {
  await inFolder({ text: TEXT }, async (folder) => {
    const screen = fakeScreen();
    const outputPath = `${folder}/out.csv`;
    const modes = ["dense", "star"] as const;
    const results = await runPerplexity(optionsIn(folder, { modes, outputPath }), {
      ...{ screen, cleanup: NO_INTERRUPTS },
    });
    assertEquals(results.map(({ mode, length }) => `${mode} ${length}`), [
      ...["dense 200", "dense 400", "star 200", "star 400"],
    ]);
    using tokenizer = await loadTokenizer(MODEL);
    const ids = tokenizer.encode(TEXT);
    for (const { mode, length, losses, tokens } of results) {
      assertEquals([losses.length, tokens], [3, 60]);
      await using model = await loadModel(MODEL, {
        ...{ mode, blockTokens: 128, device: "cpu", threads: 1, precision: "f32" },
      });
      // The last span ends with the text.
      const end = ids.length;
      const { logprob } = await model.score(
        ids.slice(end - length, end - 20),
        ids.slice(end - 20),
      );
      assertAlmostEquals(losses[2] ?? NaN, -logprob / 20, 1e-6);
    }
    const rows = results.map(tidyRow);
    for (const { loss, perplexity } of rows) assertAlmostEquals(Math.log(perplexity), loss, 1e-4);
    // A sentence is easier behind more of its kind, and blocks are not the whole.
    assert(rows[0]?.perplexity !== rows[2]?.perplexity);
    const csv = (await Deno.readTextFile(outputPath)).split("\n");
    assertEquals(
      csv[0],
      "mode,length,spans,tokens,loss,loss_stderr,perplexity,perplexity_stderr,seconds",
    );
    assertEquals(csv.length, 6);
    const table = screen.printed.join("").split("\n");
    assertEquals(table[0]?.trim().split(/ +/), ["tokens", "dense", "star"]);
    assertEquals(JSON.parse(formatPerplexities(results, "json")), rows);
    assertStringIncludes(
      formatPerplexities(results, "md"),
      "| tokens | dense | star |\n| --- | ---:",
    );
  });
});

Deno.test("runPerplexity() puts the prefix in front of every context", async () => {
  await inFolder({ text: TEXT }, async (folder) => {
    const contexts: Int32Array[] = [];
    const prefix = "<|begin_of_text|>";
    using tokenizer = await loadTokenizer(MODEL);
    const before = [...tokenizer.encode(prefix)];
    await runPerplexity(optionsIn(folder, { prefix, spanCount: 2 }), {
      ...{ screen: fakeScreen(), cleanup: NO_INTERRUPTS },
      loadModel: async (model, load) => {
        const loaded = await loadModel(model, load);
        const score: typeof loaded.score = async (context, continuation, options) => {
          if (typeof context !== "string") contexts.push(context);
          return await loaded.score(context, continuation, options);
        };
        return new Proxy(loaded, {
          get: (target, name) => {
            if (name === "score") return score;
            const value = Reflect.get(target, name, target);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      },
    });
    assertEquals(contexts.map(({ length }) => length), [180, 180, 380, 380]);
    for (const ids of contexts) assertEquals([...ids.slice(0, before.length)], before);
  });
});

Deno.test("runPerplexity() keeps what it found when a rank is lost", async () => {
  await inFolder({ text: TEXT }, async (folder) => {
    const screen = fakeScreen();
    let asked = 0;
    const context = {
      ...{ screen, cleanup: NO_INTERRUPTS },
      loadModel: (async (model, load) => {
        const loaded = await loadModel(model, load);
        return {
          ...{ config: loaded.config, tokenizer: loaded.tokenizer, batchSize: 1, processCount: 1 },
          deviceDescription: "a fake",
          generate: loaded.generate.bind(loaded),
          score: async (...given) => {
            if (++asked > 3) throw new WorkerError("lost", { rank: 1, phase: "phase 1" });
            return await loaded.score(...given);
          },
          [Symbol.asyncDispose]: () => loaded[Symbol.asyncDispose](),
        };
      }) as typeof loadModel,
    };
    const outputPath = `${folder}/out.csv`;
    await assertRejects(
      () => runPerplexity(optionsIn(folder, { outputPath }), context),
      WorkerError,
    );
    const [, , line = ""] = screen.printed.join("").split("\n");
    assertEquals(line.split(/ +/)[0], "200");
    assertEquals((await Deno.readTextFile(outputPath)).split("\n").length, 3);
  });
});

Deno.test("runPerplexity() refuses lengths that leave no context or exceed the model", async () => {
  await inFolder({ text: TEXT, empty: "" }, async (folder) => {
    const context = { screen: fakeScreen(), cleanup: NO_INTERRUPTS };
    const cases: readonly (readonly [
      Partial<PerplexityOptions>,
      typeof FileError | typeof UsageError,
      string,
    ])[] = [
      [
        { lengths: [20, 300] },
        UsageError,
        "--seq_lengths: must be above --span_tokens, which is 20",
      ],
      [{ lengths: [20000] }, UsageError, "at most the model's 16384 positions"],
      [{ lengths: [9000] }, FileError, "must have at least 9000 tokens"],
      [{ inputPath: `${folder}/empty` }, FileError, "must have at least 400 tokens"],
      [{ inputPath: `${folder}/none` }, FileError, "Cannot read"],
      [{ modes: ["starx"], plan: { blockTokens: 100 } }, UsageError, "'blockTokens' must be"],
    ];
    for (const [change, kind, message] of cases) {
      await assertRejects(() => runPerplexity(optionsIn(folder, change), context), kind, message);
    }
  });
});

Deno.test("perplexity has no flags of batches", () => {
  const names = Object.keys(PERPLEXITY.help.flags);
  assert(!names.includes("batch_size") && !names.includes("replicas") && names.includes("dtype"));
});
