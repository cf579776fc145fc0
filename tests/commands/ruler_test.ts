import { runRuler } from "../../commands/ruler/ruler.ts";
import type { RulerOptions } from "../../commands/ruler/options.ts";
import type { DataMaker } from "../../commands/ruler/data.ts";
import { FileError, UsageError, WorkerError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { type FakeModels, fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";

/** Makes samples whose answer is their query; `niah_single_2` lacks its data. */
function fakeMaker(made: string[]): DataMaker {
  return {
    setup: () => ({ tokensToGenerate: 4, stopWords: ["<|eot_id|>"] }),
    make: async ({ task, maxTokens, sampleCount, path }) => {
      if (task === "niah_single_2") return { isMade: false, reason: "the essays are missing" };
      made.push(`${task} ${maxTokens}`);
      const lines = Array.from({ length: sampleCount }, (_, index) => {
        const input = { input_context: `${task} ${maxTokens}`, input_query: `needle ${index}` };
        return `${JSON.stringify({ index, ...input, outputs: [`needle ${index}`] })}\n`;
      });
      await Deno.writeTextFile(path, lines.join(""));
      return { isMade: true, words: task === "niah_multikey_1" ? "builtin" : undefined };
    },
  };
}

function optionsIn(folder: string, changes: Partial<RulerOptions> = {}): RulerOptions {
  return {
    modelName: "tiny",
    modelPath: MODEL,
    template: "llama3",
    plan: { ...STAR, mode: "starx" },
    givenAnchorTokens: -1,
    lengths: [512],
    tasks: ["niah_single_1", "vt"],
    pregenDir: undefined,
    sampleCount: 2,
    processCount: 3,
    outputDir: `${folder}/results`,
    sourceDir: undefined,
    cweFrequencies: [300, 30],
    device: "auto",
    dtype: "bf16",
    threads: 0,
    timeoutMs: 60_000,
    ...changes,
  };
}

interface Outcome {
  readonly table: string;
  readonly logged: readonly string[];
  readonly made: readonly string[];
}

async function ruler(options: RulerOptions, models: FakeModels): Promise<Outcome> {
  const screen = fakeScreen();
  const made: string[] = [];
  await runRuler(options, {
    screen,
    cleanup: NO_INTERRUPTS,
    loadModel: models.load,
    openDataMaker: () => Promise.resolve(fakeMaker(made)),
  });
  return { table: screen.printed.join(""), logged: screen.logged, made };
}

const right = () => fakeModels(({ query }) => query);

Deno.test("runRuler() ends in a table over all lengths", async () => {
  await inFolder({}, async (folder) => {
    const models = fakeModels(({ context, query }) => context === "vt 1024" ? "no" : query);
    const { table } = await ruler(optionsIn(folder, { lengths: [512, 1024] }), models);
    assertEquals(
      table,
      "tiny, starx, block 256, anchor 256, stride 16, threshold 0.95, bf16, llama3 prompts\n\n" +
        "task                512    1024\n" +
        "---------------  ------  ------\n" +
        "niah_single_1    100.00  100.00\n" +
        "vt               100.00    0.00\n" +
        "---------------  ------  ------\n" +
        "mean             100.00   50.00\n" +
        "blocks computed    0.38    0.38\n" +
        "s per sample       0.50    0.50\n",
    );
    assertEquals(models.loads, [2, 3]);
    assertEquals(models.openCount, 0);
  });
});

Deno.test("runRuler() lays its files out as the original does", async () => {
  await inFolder({}, async (folder) => {
    await ruler(optionsIn(folder), right());
    const root = `${folder}/results/tiny_starx_b256a256/512`;
    for (
      const name of [
        "vt.jsonl",
        "niah_single_1.jsonl",
        "data/vt/validation.jsonl",
        "summary.csv",
        "submission.csv",
        "run.json",
        "logs/evaluate.txt",
        "logs/vt/samples.jsonl",
      ]
    ) {
      assert((await Deno.stat(`${root}/${name}`)).isFile, name);
    }
    assertEquals(
      await Deno.readTextFile(`${root}/summary.csv`),
      "0,1,2\nTasks,niah_single_1,vt\nScore,100.0,100.0\nNulls,0/2,0/2\n",
    );
  });
});

Deno.test("runRuler() continues after the finished samples", async () => {
  await inFolder({}, async (folder) => {
    const lost = fakeModels(({ query }, index) => {
      if (index === 3) throw new WorkerError("lost", { rank: 1, phase: "phase 1" });
      return query;
    });
    await assertRejects(() => ruler(optionsIn(folder), lost), WorkerError, "lost");
    const models = right();
    const { made, table } = await ruler(optionsIn(folder, { processCount: 1 }), models);
    assertEquals(models.asked.map(({ prompt }) => prompt.sample), ["vt at 512 2"]);
    assertEquals(made, []);
    assertStringIncludes(table, "mean             100.00\n");
    const again = right();
    assertEquals((await ruler(optionsIn(folder), again)).table, table);
    assertEquals(again.loads, []);
  });
});

Deno.test("runRuler() adds tasks to a run", async () => {
  await inFolder({}, async (folder) => {
    await ruler(optionsIn(folder, { tasks: ["vt"] }), right());
    const models = right();
    const { made, table } = await ruler(optionsIn(folder, { tasks: ["fwe", "vt"] }), models);
    assertEquals([made, models.asked.length], [["fwe 512"], 2]);
    assert(table.indexOf("fwe") < table.indexOf("vt  "));
  });
});

const CHANGES: readonly (readonly [name: string, change: Partial<RulerOptions>])[] = [
  ["--stride", { plan: { ...STAR, mode: "starx", stride: 8 } }],
  ["--threshold", { plan: { ...STAR, mode: "starx", threshold: 1 } }],
  ["--dtype", { dtype: "f32" }],
  ["--prompt_config", { template: "base" }],
  ["--num_samples_per_task", { sampleCount: 3 }],
  ["--cwe_freq", { cweFrequencies: [30, 3] }],
];

Deno.test("runRuler() refuses to continue with another option and names it", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["cwe"];
    await ruler(optionsIn(folder, { tasks }), right());
    const root = `${folder}/results/tiny_starx_b256a256/512`;
    const before = await Deno.readTextFile(`${root}/run.json`);
    for (const [name, change] of CHANGES) {
      const models = right();
      await assertRejects(
        () => ruler(optionsIn(folder, { tasks, ...change }), models),
        UsageError,
        `${name}: cannot continue the results in ${root}`,
      );
      assertEquals(models.loads, []);
    }
    const data = `${root}/data/cwe/validation.jsonl`;
    const lines = await Deno.readTextFile(data);
    await Deno.writeTextFile(data, lines.replace("needle 1", "needle 7"));
    await assertRejects(
      () => ruler(optionsIn(folder, { tasks }), right()),
      UsageError,
      `data of cwe: cannot continue the results in ${root}`,
    );
    assertEquals(await Deno.readTextFile(`${root}/run.json`), before);
  });
});

Deno.test("runRuler() skips a task whose data is missing and says what to do", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["niah_single_2", "vt"];
    const { table, logged } = await ruler(optionsIn(folder, { tasks }), right());
    const line = "niah_single_2 at 512: skipped, the essays are missing";
    assert(logged.includes(line));
    assertStringIncludes(table, `\n${line}\n`);
    assertStringIncludes(table, "vt               100.00\n");
  });
});

Deno.test("runRuler() says which tasks were made of a package's words, also when it continues", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["niah_multikey_1"];
    for (let round = 0; round < 2; round++) {
      const { table } = await ruler(optionsIn(folder, { tasks }), right());
      assertStringIncludes(table, "\nwords: builtin in niah_multikey_1: not comparable");
    }
    const root = `${folder}/results/tiny_starx_b256a256/512`;
    const { data } = JSON.parse(await Deno.readTextFile(`${root}/run.json`));
    assertEquals(data.niah_multikey_1.words, "builtin");
  });
});

Deno.test("runRuler() skips a length that block and anchor exceed, an absent anchor being -1", async () => {
  await inFolder({}, async (folder) => {
    const plan = { ...STAR, blockTokens: 512, anchorTokens: 512 };
    const lengths = [510, 511, 1024];
    const { logged, made } = await ruler(
      optionsIn(folder, { plan, lengths, tasks: ["vt"] }),
      right(),
    );
    assertEquals(made, ["vt 511", "vt 1024"]);
    assertEquals(
      logged[0],
      "Length 510 is skipped as --block_size plus --anchor_block_size must not exceed it: " +
        "current value is 511",
    );
    const models = right();
    await ruler(optionsIn(folder, { plan, lengths: [1023], givenAnchorTokens: 512 }), models);
    assertEquals(models.loads, []);
  });
});

Deno.test("runRuler() takes data that was made before, and makes what is not there", async () => {
  const given = JSON.stringify({
    index: 0,
    input_context: "given",
    input_query: "q",
    outputs: ["q"],
  });
  const files = { "pre/512/vt/validation.jsonl": `${given}\n` };
  await inFolder(files, async (folder) => {
    const models = right();
    const { made } = await ruler(optionsIn(folder, { pregenDir: `${folder}/pre` }), models);
    assertEquals(made, ["niah_single_1 512"]);
    assertEquals(models.asked[2]?.prompt.context, "given");
    await assertRejects(
      () => ruler(optionsIn(folder, { pregenDir: `${folder}/none` }), right()),
      UsageError,
      "--pregen_data_dir: must be a folder",
    );
  });
});

Deno.test("runRuler() refuses what cannot run before anything is made", async () => {
  const cases: readonly (readonly [Partial<RulerOptions>, string])[] = [
    [{ processCount: undefined }, "--nproc_per_node: is required with --attn_type starx"],
    [{ plan: { ...STAR, blockTokens: -1 } }, "'blockTokens' must be a whole number above 0"],
    [{ plan: { ...STAR, mode: "starx", stride: 3 } }, "'stride' must be a divisor of 128"],
  ];
  await inFolder({}, async (folder) => {
    for (const [change, message] of cases) {
      await assertRejects(() => ruler(optionsIn(folder, change), right()), UsageError, message);
    }
    await assertRejects(
      () => ruler(optionsIn(folder, { modelPath: `${folder}/none` }), right()),
      FileError,
      `Cannot read ${folder}/none/config.json: it does not exist`,
    );
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("runRuler() needs no number of processes in modes without blocks", async () => {
  await inFolder({}, async (folder) => {
    const models = right();
    const plan = { ...STAR, mode: "dense" as const };
    await ruler(optionsIn(folder, { plan, processCount: undefined }), models);
    assertEquals(models.loads, [1]);
    assert((await Deno.stat(`${folder}/results/tiny_dense/512/vt.jsonl`)).isFile);
  });
});
