import { runRuler } from "../../commands/ruler/ruler.ts";
import type { RulerOptions } from "../../commands/ruler/options.ts";
import type { DataMaker } from "../../commands/ruler/data.ts";
import { DeviceError, FileError, UsageError, WorkerError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { otherSet, withIsa } from "../helpers/isa.ts";
import { STAR } from "../helpers/prompts.ts";
import { fakeMaker, optionsIn, right, ruler } from "../helpers/ruler_run.ts";

/** One threshold for each of the model's heads. */
const TABLE = { stride: 16, layers: Array(6).fill(Array(8).fill(0.95)), model: null };

const CHANGES: readonly (readonly [name: string, change: Partial<RulerOptions>])[] = [
  ["--stride", { plan: { ...STAR, mode: "starx", stride: 8 } }],
  ["--threshold", { plan: { ...STAR, mode: "starx", threshold: 1 } }],
  ["--threshold", { plan: { ...STAR, mode: "starx", threshold: TABLE } }],
  ["--rest", { plan: { ...STAR, mode: "starx", rest: "mean" } }],
  ["--dtype", { dtype: "f32" }],
  ["--prompt_config", { template: "base" }],
  ["--cwe_freq", { cweFrequencies: [30, 3] }],
];

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
    assertStringIncludes(table, "mean            100.0 ± 0.0\n");
    const again = right();
    assertEquals((await ruler(optionsIn(folder), again)).table, table);
    assertEquals(again.loads, []);
  });
});

Deno.test("runRuler() binds finished samples to the set that STARX_ISA forces", async () => {
  const other = await otherSet();
  await inFolder({}, async (folder) => {
    const options = optionsIn(folder, { tasks: ["vt"], device: "cpu" });
    const run = (isa: string | undefined) =>
      withIsa(isa, () => ruler({ ...options, sampleCount: isa === undefined ? 5 : 4 }, right()));
    await run(other);
    await assertRejects(
      () => run(undefined),
      UsageError,
      `STARX_ISA: cannot continue the results in ${folder}/`,
    );
    await run(other);
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

Deno.test("runRuler() goes on with the same table of thresholds, not with another one", async () => {
  await inFolder({}, async (folder) => {
    const plan = { ...STAR, mode: "starx", threshold: TABLE } as const;
    await ruler(optionsIn(folder, { tasks: ["vt"], plan }), right());
    const models = right();
    await ruler(optionsIn(folder, { tasks: ["vt", "cwe"], plan }), models);
    assertEquals(models.asked.length, 2);
    const layers = TABLE.layers.with(2, Array(8).fill(0.9));
    const other = { ...plan, threshold: { ...TABLE, layers } };
    const refused = right();
    await assertRejects(
      () => ruler(optionsIn(folder, { tasks: ["vt"], plan: other }), refused),
      UsageError,
      "--threshold: cannot continue the results in",
    );
    assertEquals(refused.loads, []);
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

Deno.test("runRuler() goes on with more samples as if they had been asked for at once", async () => {
  await inFolder({}, async (folder) => {
    const read = async (root: string): Promise<string[]> => {
      const names = ["vt.jsonl", "data/vt/validation.jsonl", "summary-vt.csv", "submission.csv"];
      return await Promise.all(names.map((name) => Deno.readTextFile(`${root}/512/${name}`)));
    };
    const root = `${folder}/results/tiny_starx_b256a256`;
    const half = fakeModels(({ query }) => query.endsWith("1") ? "no" : query);
    const two = await ruler(optionsIn(folder, { tasks: ["vt"] }), half);
    assertStringIncludes(two.table, "vt              50.0 ± 35.3");
    const more = fakeModels(({ query }) => query.endsWith("1") ? "no" : query);
    await ruler(optionsIn(folder, { tasks: ["vt"], sampleCount: 5 }), more);
    assertEquals(more.asked.length, 3);
    const whole = fakeModels(({ query }) => query.endsWith("1") ? "no" : query);
    const outputDir = `${folder}/whole`;
    await ruler(optionsIn(folder, { tasks: ["vt"], sampleCount: 5, outputDir }), whole);
    assertEquals(await read(root), await read(`${outputDir}/tiny_starx_b256a256`));
    const fewer = right();
    const { table } = await ruler(optionsIn(folder, { tasks: ["vt"], sampleCount: 2 }), fewer);
    assertEquals([fewer.asked.length, table], [0, two.table]);
    assertStringIncludes(await Deno.readTextFile(`${root}/512/summary-vt.csv`), "Nulls,0/2");
  });
});

Deno.test("runRuler() refuses more samples that do not begin with those it finished", async () => {
  await inFolder({}, async (folder) => {
    await ruler(optionsIn(folder, { tasks: ["vt"] }), right());
    const root = `${folder}/results/tiny_starx_b256a256/512`;
    const maker = fakeMaker([]);
    const other: DataMaker = {
      ...maker,
      make: async (request) => {
        const outcome = await maker.make(request);
        const text = await Deno.readTextFile(request.path);
        await Deno.writeTextFile(request.path, text.replace("needle 0", "needle 9"));
        return outcome;
      },
    };
    const before = await Deno.readTextFile(`${root}/data/vt/validation.jsonl`);
    await assertRejects(
      () =>
        runRuler(optionsIn(folder, { tasks: ["vt"], sampleCount: 5 }), {
          ...{ screen: fakeScreen(), cleanup: NO_INTERRUPTS, loadModel: right().load },
          openDataMaker: () => Promise.resolve(other),
        }),
      UsageError,
      `data of vt: cannot continue the results in ${root}`,
    );
    assertEquals(await Deno.readTextFile(`${root}/data/vt/validation.jsonl`), before);
    assertEquals((await Array.fromAsync(Deno.readDir(`${root}/data/vt`))).length, 1);
  });
});

Deno.test("runRuler() binds nobody by a run that finished no sample, and overwrites if told so", async () => {
  await inFolder({}, async (folder) => {
    const failing = fakeModels(() => {
      throw new DeviceError("no memory");
    });
    await assertRejects(() => ruler(optionsIn(folder), failing), DeviceError);
    await ruler(optionsIn(folder, { dtype: "f32" }), right());
    await assertRejects(() => ruler(optionsIn(folder), right()), UsageError, "--dtype");
    const { table } = await ruler(optionsIn(folder, { overwrite: true }), right());
    assertStringIncludes(table, "mean            100.0 ± 0.0");
  });
});

Deno.test("runRuler() records what decides results, and every session that added some", async () => {
  await inFolder({}, async (folder) => {
    const args = ["ruler", "-n", "tiny"];
    const screen = fakeScreen();
    const openDataMaker = () => Promise.resolve(fakeMaker([]));
    const context = { screen, cleanup: NO_INTERRUPTS, openDataMaker, args };
    await runRuler(optionsIn(folder), { ...context, loadModel: right().load });
    await runRuler(optionsIn(folder, { sampleCount: 3 }), { ...context, loadModel: right().load });
    const root = `${folder}/results/tiny_starx_b256a256/512`;
    const run = JSON.parse(await Deno.readTextFile(`${root}/run.json`));
    const digests = [run.model.sha256, run.model.tokenizer, run.kernels];
    for (const digest of digests) assert(/^[0-9a-f]{64}$/.test(digest), digest);
    assertEquals(run.sessions.length, 2);
    const [{ command, deno, device, date }] = run.sessions;
    assertEquals([command, deno, device], ["ruler -n tiny", Deno.version.deno, "a fake"]);
    assert(Math.abs(Date.now() - Date.parse(date)) < 600_000);
  });
});

Deno.test("runRuler() refuses a second run in its folder, whose scores would count twice", async () => {
  await inFolder({}, async (folder) => {
    const open = Promise.withResolvers<void>();
    const models = right();
    const running = runRuler(optionsIn(folder), {
      ...{ screen: fakeScreen(), cleanup: NO_INTERRUPTS },
      openDataMaker: async () => {
        await open.promise;
        return fakeMaker([]);
      },
      loadModel: models.load,
    });
    const lock = `${folder}/results/tiny_starx_b256a256/run.lock`;
    while (!(await Deno.stat(lock).then(({ size }) => size > 0, () => false))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const error = await assertRejects(() => ruler(optionsIn(folder), right()), UsageError);
    assertStringIncludes(error.message, `process ${Deno.pid} on `);
    open.resolve();
    await running;
    assertEquals(models.asked.length, 4);
  });
});

Deno.test("runRuler() mends a log that lacks its last line, and says so", async () => {
  await inFolder({}, async (folder) => {
    await ruler(optionsIn(folder, { tasks: ["vt"], sampleCount: 4 }), right());
    const log = `${folder}/results/tiny_starx_b256a256/512/logs/vt/samples.jsonl`;
    const lines = (await Deno.readTextFile(log)).trim().split("\n");
    await Deno.writeTextFile(log, lines.slice(0, 3).map((line) => `${line}\n`).join(""));
    const { table, logged } = await ruler(
      optionsIn(folder, { tasks: ["vt"], sampleCount: 4 }),
      right(),
    );
    assertStringIncludes(logged.join("\n"), "vt at 512: what 1 of 4 finished samples took is not");
    assertStringIncludes(table, "s per sample           0.50");
    assertEquals((await Deno.readTextFile(log)).trim().split("\n").length, 4);
  });
});

Deno.test("runRuler() notices that a later task's data changed while an earlier one ran", async () => {
  await inFolder({}, async (folder) => {
    const length = `${folder}/results/tiny_starx_b256a256/512`;
    const data = `${length}/data/vt/validation.jsonl`;
    const models = fakeModels(({ query }, index) => {
      if (index === 0) {
        const text = Deno.readTextFileSync(data);
        Deno.writeTextFileSync(data, text.replaceAll("needle 1", "needle 7"));
      }
      return query;
    });
    const error = await assertRejects(() => ruler(optionsIn(folder), models), FileError);
    assertStringIncludes(error.message, `${data} as it changed while the run went on: line 2`);
    // What was asked for before is there, and nothing of other data.
    const lines = (name: string) => Deno.readTextFileSync(`${length}/${name}.jsonl`).split("\n");
    assertEquals([lines("niah_single_1").length, lines("vt").length], [3, 2]);
  });
});

Deno.test("runRuler() shows what it finished whatever happens later", async () => {
  await inFolder({}, async (folder) => {
    const lost = fakeModels(({ query }, index) => {
      if (index === 3) throw new WorkerError("lost", { rank: 1, phase: "phase 1" });
      return query;
    });
    const screen = fakeScreen();
    const ends: (() => Promise<void>)[] = [];
    await assertRejects(
      () =>
        runRuler(optionsIn(folder), {
          screen,
          cleanup: {
            onInterrupt: (end) => {
              ends.push(end);
              return { [Symbol.dispose]: () => {} };
            },
          },
          loadModel: lost.load,
          openDataMaker: () => Promise.resolve(fakeMaker([])),
        }),
      WorkerError,
    );
    const table = screen.printed.join("");
    assertStringIncludes(table, "niah_single_1   100.0 ± 0.0\n");
    assertStringIncludes(table, "vt at 512: 1 of 2 samples\n");
    // The first to be registered shows the same when the user interrupts the run.
    screen.printed.length = 0;
    await ends[0]?.();
    assertEquals(screen.printed.join(""), table);
  });
});
