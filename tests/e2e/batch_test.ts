/**
 * `infer` and `ruler` write the same bytes for every batch size and number of replicas, and a run that
 * is cut off goes on to the same file.
 *
 * @module
 */
import { runInfer } from "../../commands/infer/infer.ts";
import type { InferOptions } from "../../commands/infer/options.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { assertEquals } from "../helpers/assert.ts";
import { runRuler } from "../../commands/ruler/ruler.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { goldenEntries } from "../helpers/golden.ts";
import { leftovers } from "../helpers/processes.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";
import { Random } from "../helpers/random.ts";
import { optionsIn } from "../helpers/ruler_run.ts";

/** Samples of different lengths; some have a stop word in their answers. */
async function lines(count = 6): Promise<string> {
  const entries = await goldenEntries();
  const shares = [1, 0.7, 0.4, 0.9, 0.3];
  const rounds = shares.slice(0, Math.ceil(count / entries.length) + 1);
  const samples = entries.flatMap(({ context, query }, i) =>
    rounds.map((share, j) => ({
      index: rounds.length * i + j,
      input_context: context.slice(0, Math.floor(context.length * share)),
      input_query: query,
      output: "",
    }))
  );
  return samples.slice(0, count).map((sample) => JSON.stringify(sample)).join("\n") + "\n";
}

function options(folder: string, more: Partial<InferOptions>): InferOptions {
  return {
    modelPath: MODEL,
    plan: STAR,
    device: "cpu",
    dtype: "bf16",
    processCount: 1,
    threads: 1,
    timeoutMs: 60_000,
    inputPath: `${folder}/in.jsonl`,
    outputPath: `${folder}/out.jsonl`,
    sampleLimit: -1,
    tokensToGenerate: 10,
    stopWords: [" the", "\n"],
    topLogits: 3,
    ignoreEos: true,
    ...more,
  };
}

const CONTEXT = { screen: fakeScreen(), cleanup: NO_INTERRUPTS };

Deno.test("runInfer() writes the same bytes for every batch size, on 1 and 2 processes", async () => {
  await inFolder({ "in.jsonl": await lines() }, async (folder) => {
    const outputs: string[] = [];
    for (
      const [processCount, batchSize] of [[1, 1], [1, 3], [1, "auto"], [2, 1], [2, 4]] as const
    ) {
      const outputPath = `${folder}/out-${processCount}-${batchSize}.jsonl`;
      await runInfer(options(folder, { processCount, batchSize, outputPath }), CONTEXT);
      outputs.push(await Deno.readTextFile(outputPath));
    }
    const [first = ""] = outputs;
    const records = first.trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(records.map(({ index }) => index), [0, 1, 2, 3, 4, 5]);
    // On one process or two, other sums are made: texts and ids are the same, logits are not.
    assertEquals([outputs[1], outputs[2]], [first, first]);
    assertEquals(outputs[4], outputs[3]);
    const texts = (output = "") =>
      output.trimEnd().split("\n").map((line) => JSON.parse(line).generated_ids);
    assertEquals(texts(outputs[3]), texts(first));
  });
});

for (const plan of [STAR, { mode: "dense" }] as const) {
  Deno.test(`runInfer() writes a sample's bytes in any order of the file, 1, 2, 5 or 16 at once, in ${plan.mode} (seed 11)`, async () => {
    const inputs = (await lines(18)).trimEnd().split("\n");
    await inFolder({}, async (folder) => {
      const random = new Random(11);
      let expected: string[] | undefined;
      for (const batchSize of [1, 2, 5, 16]) {
        const order = batchSize === 1 ? [...inputs.keys()] : random.shuffled(inputs.length);
        const inputPath = `${folder}/in-${batchSize}.jsonl`;
        const outputPath = `${folder}/out-${batchSize}.jsonl`;
        await Deno.writeTextFile(inputPath, order.map((i) => `${inputs[i]}\n`).join(""));
        await runInfer(options(folder, { plan, batchSize, inputPath, outputPath }), CONTEXT);
        const records = (await Deno.readTextFile(outputPath)).trimEnd().split("\n");
        assertEquals(records.map((line) => JSON.parse(line).index), order);
        const found = inputs.map((_, index) => records[order.indexOf(index)] ?? "");
        expected ??= found;
        assertEquals(found, expected, `${batchSize} at once`);
      }
    });
  });
}

Deno.test("runInfer() goes on with another batch size where a run was cut off", async () => {
  await inFolder({ "in.jsonl": await lines() }, async (folder) => {
    await runInfer(options(folder, { batchSize: 1 }), CONTEXT);
    const whole = await Deno.readTextFile(`${folder}/out.jsonl`);
    const some = whole.split("\n").slice(0, 3).join("\n") + "\n";
    await Deno.writeTextFile(`${folder}/out.jsonl`, `${some}{"index": 3, "pr`);
    await runInfer(options(folder, { batchSize: 4 }), CONTEXT);
    assertEquals(await Deno.readTextFile(`${folder}/out.jsonl`), whole);
  });
});

Deno.test("runInfer() writes the same bytes for every number of replicas", async () => {
  await inFolder({ "in.jsonl": await lines() }, async (folder) => {
    const outputs: string[] = [];
    for (const [replicas, processCount, batchSize] of [[1, 1, 1], [2, 1, 2], [3, 1, 1]] as const) {
      const outputPath = `${folder}/out-${replicas}.jsonl`;
      const screen = fakeScreen();
      const changes = { replicas, processCount, batchSize, outputPath };
      await runInfer(options(folder, changes), { ...CONTEXT, screen });
      outputs.push(await Deno.readTextFile(outputPath));
      const isSaid = screen.logged.some((line) => line.includes(`${replicas} replicas, each cpu`));
      assertEquals(isSaid, replicas > 1);
    }
    assertEquals(outputs.slice(1), [outputs[0], outputs[0]]);
    assertEquals(leftovers("starx"), []);
  });
});

Deno.test("runRuler() writes the same results for every batch size and number of replicas", async () => {
  await inFolder({}, async (folder) => {
    const results: Record<string, string>[] = [];
    for (const [batchSize, replicas] of [[1, 1], [3, 1], ["auto", 2]] as const) {
      const outputDir = `${folder}/${batchSize}-${replicas}`;
      const changes = {
        outputDir,
        batchSize,
        replicas,
        lengths: [1024],
        processCount: 1,
        sampleCount: 3,
      } as const;
      await runRuler(optionsIn(folder, { ...changes, device: "cpu", threads: 1 }), CONTEXT);
      const root = `${outputDir}/tiny_starx_b256a256/1024`;
      const names = ["niah_single_1.jsonl", "vt.jsonl", "summary.csv"];
      const texts = names.map(async (name) =>
        [name, await Deno.readTextFile(`${root}/${name}`)] as const
      );
      results.push(Object.fromEntries(await Promise.all(texts)));
    }
    assertEquals(results.slice(1), [results[0], results[0]]);
  });
});

/** Loads models that note for each sample whether its context was encoded. */
function countingModels(encoded: boolean[]): typeof loadModel {
  return async (folder, load) => {
    const model = await loadModel(folder, load);
    return {
      ...{ config: model.config, tokenizer: model.tokenizer, batchSize: model.batchSize },
      ...{ processCount: model.processCount, deviceDescription: model.deviceDescription },
      generate: async (prompt, how) => {
        const generation = await model.generate(prompt, how);
        encoded.push(generation.result.ranks.some(({ blocks }) => blocks > 0));
        return generation;
      },
      score: (...given) => model.score(...given),
      [Symbol.asyncDispose]: () => model[Symbol.asyncDispose](),
    };
  };
}

Deno.test("runInfer() encodes the context of consecutive lines once, with the same results", async () => {
  const [a = "", b = ""] = (await goldenEntries()).map(({ context }) => context.slice(0, 1500));
  const contexts = [a, a, a, b, b, a];
  const asked = contexts.map((input_context, index) =>
    JSON.stringify({ index, input_context, input_query: `Question ${index}:`, output: "" })
  );
  // In this order no two neighbours have the same context.
  const apart = [0, 3, 1, 4, 2].map((index) => asked[index]);
  const files = {
    "in.jsonl": asked.map((line) => `${line}\n`).join(""),
    "apart.jsonl": apart.map((line) => `${line}\n`).join(""),
  };
  await inFolder(files, async (folder) => {
    const run = async (more: Partial<InferOptions>) => {
      const encoded: boolean[] = [];
      const loadModel = countingModels(encoded);
      const given = options(folder, { template: "llama3", ...more });
      await runInfer(given, { ...CONTEXT, loadModel });
      const lines = (await Deno.readTextFile(given.outputPath)).trimEnd().split("\n");
      const records = new Map(lines.map((line) => [JSON.parse(line).index as number, line]));
      return { count: encoded.filter(Boolean).length, records };
    };
    for (const [processCount, batchSize] of [[1, 1], [1, 4], [2, 4]] as const) {
      const place = { processCount, batchSize };
      const name = `${folder}/${processCount}-${batchSize}`;
      const { count, records } = await run({ ...place, outputPath: `${name}.jsonl` });
      assertEquals(count, 3);
      const inputPath = `${folder}/apart.jsonl`;
      const alone = await run({ ...place, inputPath, outputPath: `${name}-apart.jsonl` });
      assertEquals(alone.count, 5);
      for (const [index, line] of alone.records) assertEquals(records.get(index), line);
      // What is left of a run that was cut off is encoded once, too.
      const lines = (await Deno.readTextFile(`${name}.jsonl`)).split("\n");
      await Deno.writeTextFile(`${name}.jsonl`, `${lines[0]}\n`);
      assertEquals((await run({ ...place, outputPath: `${name}.jsonl` })).count, 3);
      assertEquals((await Deno.readTextFile(`${name}.jsonl`)).split("\n"), lines);
    }
  });
});
