import type { RulerOptions } from "../../commands/ruler/options.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { fakeModels } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { readConfig } from "../../lib/model/config.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";
import { optionsIn, right, ruler } from "../helpers/ruler_run.ts";

Deno.test("runRuler() ends in a table over all lengths", async () => {
  await inFolder({}, async (folder) => {
    const models = fakeModels(({ context, query }) => context === "vt 1024" ? "no" : query);
    const { table } = await ruler(optionsIn(folder, { lengths: [512, 1024] }), models);
    assertEquals(
      table,
      "tiny, starx, block 256, anchor 256, stride 16, threshold 0.95, bf16, llama3 prompts\n\n" +
        "task                    512         1024\n" +
        "--------------  -----------  -----------\n" +
        "niah_single_1   100.0 ± 0.0  100.0 ± 0.0\n" +
        "vt              100.0 ± 0.0    0.0 ± 0.0\n" +
        "--------------  -----------  -----------\n" +
        "mean            100.0 ± 0.0   50.0 ± 0.0\n" +
        "tiles computed         0.38         0.38\n" +
        "s per sample           0.50         0.50\n",
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

Deno.test("runRuler() skips a task whose data is missing and says what to do", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["niah_single_2", "vt"];
    const { table, logged } = await ruler(optionsIn(folder, { tasks }), right());
    const line = "niah_single_2 at 512: skipped, the essays are missing";
    assert(logged.includes(line));
    assertStringIncludes(table, `\n${line}\n`);
    assertStringIncludes(table, "vt              100.0 ± 0.0\n");
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
    assertEquals(logged[0], "Length 510 is skipped as it is shorter than --block_size 512");
    const models = right();
    const none = optionsIn(folder, { plan, lengths: [1023], givenAnchorTokens: 512 });
    await assertRejects(
      () => ruler(none, models),
      UsageError,
      "--seq_lengths: none is left to run: current value is 1023",
    );
    assertEquals(models.loads, []);
  });
});

Deno.test("runRuler() does not succeed with nothing computed", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["niah_single_2"];
    await assertRejects(
      () => ruler(optionsIn(folder, { tasks }), right()),
      FileError,
      "Cannot run any task as each lacks its data",
    );
    const cases: readonly (readonly [Partial<RulerOptions>, string])[] = [
      [{ sourceDir: `${folder}/none` }, "--source_dir: must be a folder: current value is"],
      [
        { lengths: [512, 16385] },
        "--seq_lengths: must be at most the model's 16384 positions (max_position_embeddings): " +
        "current value is 16385",
      ],
    ];
    for (const [change, message] of cases) {
      const outputDir = `${folder}/other`;
      await assertRejects(
        () => ruler(optionsIn(folder, { ...change, outputDir }), right()),
        UsageError,
        message,
      );
      assertEquals(await Deno.stat(outputDir).catch(() => undefined), undefined);
    }
  });
});

Deno.test("runRuler() marks a task that every sample misses while it runs", async () => {
  await inFolder({}, async (folder) => {
    const options = optionsIn(folder, { tasks: ["vt"], sampleCount: 7 });
    const { logged } = await ruler(options, fakeModels(() => "no"));
    const marks = logged.filter((line) => line.startsWith("warning: vt at 512: all 5 samples"));
    assertEquals(marks.length, 1);
    assertStringIncludes(logged.at(-2) ?? "", "vt at 512: 7 samples, 0.50 s each: 0.0 ± 0.0");
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
    [{ processCount: undefined }, "--nproc_per_node is required with --attn_type starx"],
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

Deno.test("runRuler() ends answers at the model's end ids only if it is asked to, and records that", async () => {
  await inFolder({}, async (folder) => {
    for (const stopAtEos of [undefined, true]) {
      const models = right();
      const outputDir = `${folder}/${stopAtEos}`;
      await ruler(optionsIn(folder, { outputDir, stopAtEos, tasks: ["vt"] }), models);
      const { eosTokenIds } = await readConfig(MODEL);
      assert(eosTokenIds.length > 0);
      const endIds = models.asked.map(({ options }) => options.endIds);
      assertEquals(endIds, [1, 2].map(() => stopAtEos === true ? eosTokenIds : []));
      const path = `${outputDir}/tiny_starx_b256a256/512/run.json`;
      const record = JSON.parse(await Deno.readTextFile(path));
      assertEquals(record.options.stop_at_eos, stopAtEos);
    }
  });
});
