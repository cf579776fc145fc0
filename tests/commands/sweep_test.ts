/**
 * The `sweep` command with models that do not compute: one load, one set of data, nothing lost or
 * doubled, whatever ends a process and however many there are.
 *
 * @module
 */
import { readUnit } from "../../commands/sweep/records.ts";
import { readSweep } from "../../commands/sweep/results.ts";
import type { SweepOptions } from "../../commands/sweep/options.ts";
import { describeCpu } from "../../lib/device/cpu_description.ts";
import { FileError, UsageError, WorkerError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { type FakeModels, fakeModels } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { otherSet, withIsa } from "../helpers/isa.ts";
import { right } from "../helpers/ruler_run.ts";
import { csvWithoutTimes, sweep, sweepOptions } from "../helpers/sweep_run.ts";

/** 5 settings, 2 lengths, 2 tasks, 3 samples. */
const SAMPLES = 60;

/** Models of which some settings miss: by the plan alone, so that order plays no part. */
function judging(): FakeModels {
  const models = fakeModels(({ query }) => query);
  const load: FakeModels["load"] = async (folder, options) => {
    const model = await models.load(folder, options);
    return {
      ...model,
      generate: async (prompt, options) => {
        const { plan: { threshold = 1, mode = "dense" } = {} } = options ?? {};
        const generation = await model.generate(prompt, options);
        const isMiss = mode !== "dense" && threshold === 0.5 && generation.text.includes("1");
        return isMiss ? { ...generation, text: "nothing" } : generation;
      },
    };
  };
  return { ...models, load };
}

Deno.test("runSweep() loads a model once, makes data once, and writes a row for each setting", async () => {
  await inFolder({}, async (folder) => {
    const models = judging();
    const { made, printed, logged } = await sweep(sweepOptions(folder), models);
    assertEquals([models.loads, models.asked.length], [[1], SAMPLES]);
    assertEquals(made.toSorted(), [
      ...["niah_single_1 1024", "niah_single_1 512", "vt 1024", "vt 512"],
    ]);
    const [header, ...rows] = await csvWithoutTimes(`${folder}/sweep/sweep.csv`);
    assertStringIncludes(header ?? "", "setting,attn_type,block_size,anchor_block_size,stride,");
    const columns = header?.split(",") ?? [];
    assertEquals(columns.length, new Set(columns).size);
    assertEquals(rows.length, 10);
    const row = rows.find((row) => row.startsWith("xattn_s16_t0.5,"));
    // One of three samples misses; of the exact setting's none.
    assert(row?.startsWith("xattn_s16_t0.5,xattn,,,16,0.5,,drop,1,,512,2,6,66.6667,"), row);
    assert(row?.includes(",dense,-33.3333,"), row);
    assertStringIncludes(printed, "starx_b1of2_s16_t0.9");
    assertStringIncludes(logged.at(-1) ?? "", "sweep/sweep.csv");
    const tasks = await csvWithoutTimes(`${folder}/sweep/tasks.csv`);
    assertEquals(tasks.length, 21);
    assertEquals(models.openCount, 0);
    // All is there: nothing is loaded.
    const again = right();
    await sweep(sweepOptions(folder), again);
    assertEquals([again.loads, again.asked.length], [[], 0]);
  });
});

Deno.test("runSweep() gives each process layout a load, and plans by the calls", async () => {
  await inFolder({}, async (folder) => {
    const models = right();
    await sweep(sweepOptions(folder, { processCount: 2, tasks: ["vt"], lengths: [512] }), models);
    assertEquals(models.loads.toSorted(), [1, 2]);
    const plans = models.asked.map(({ options: { plan } }) => `${plan?.mode} ${plan?.blockTokens}`);
    assertEquals([...new Set(plans)].toSorted(), [
      ...["dense undefined", "starx 256", "xattn undefined"],
    ]);
  });
});

Deno.test("runSweep() makes the ids of a prompt once for all loads of the model", async () => {
  await inFolder({}, async (folder) => {
    const models = right();
    // By load and sample: the very arrays, which nobody makes twice.
    const contexts: Map<string, unknown>[] = [];
    const load: FakeModels["load"] = async (path, options) => {
      const model = await models.load(path, options);
      const own = new Map<string, unknown>();
      contexts.push(own);
      return {
        ...model,
        generate: (prompt, call) => {
          const sample = /vt at.*|niah.*/.exec(prompt.sample ?? "")?.[0] ?? "";
          own.set(`${call?.plan?.mode === "dense"} ${sample}`, prompt.context);
          return model.generate(prompt, call);
        },
      };
    };
    const grids = [{ attn_type: ["dense" as const, "xattn" as const], decode_keep: ["1", "0.5"] }];
    await sweep(sweepOptions(folder, { grids }), { ...models, load });
    const [first, second] = contexts;
    assertEquals([models.loads.length, first?.size, second?.size], [2, 24, 24]);
    for (const [sample, context] of first ?? []) {
      assert(context instanceof Int32Array && context.length > 0);
      assert(second?.get(sample) === context, sample);
    }
  });
});

Deno.test("runSweep() loads a model for each share of the keys, and reads them as it says", async () => {
  await inFolder({}, async (folder) => {
    const models = right();
    const asked: string[] = [];
    const load: FakeModels["load"] = async (path, options) => {
      const { decodeKeep = 1, blockTokens } = options ?? {};
      asked.push(`${decodeKeep} ${blockTokens}`);
      return await models.load(path, options);
    };
    const grids = [{
      attn_type: ["dense", "xattn", "star"] as const,
      block_size: ["1/2"],
      threshold: [0.5],
      decode_keep: [1, 0.5],
    }];
    await sweep(sweepOptions(folder, { grids, tasks: ["vt"] }), { ...models, load });
    // Steps choose among the tiles of a block, whose sizes are two here.
    assertEquals(asked.toSorted(), ["0.5 256", "0.5 512", "0.5 undefined", "1 undefined"]);
    assertEquals(models.asked.length, 36);
    const { rows } = await readSweep(`${folder}/sweep`);
    assertEquals(rows.find(({ name }) => name === "dense_k0.5")?.options.decode_keep, "0.5");
  });
});

/** The tables of an undisturbed sweep. */
async function undisturbed(changes: Partial<SweepOptions> = {}): Promise<string[]> {
  let tables: string[] = [];
  await inFolder({}, async (folder) => {
    await sweep(sweepOptions(folder, changes), judging());
    tables = await tablesOf(folder);
  });
  return tables;
}

async function tablesOf(folder: string): Promise<string[]> {
  const all = [];
  for (const name of ["sweep", "tasks"]) {
    all.push(...await csvWithoutTimes(`${folder}/sweep/${name}.csv`));
  }
  return all;
}

Deno.test("runSweep() goes on wherever it was cut off, and loses and doubles nothing", async () => {
  const expected = await undisturbed();
  for (const stop of [0, 1, 7, 31, 59]) {
    await inFolder({}, async (folder) => {
      const failing = judging();
      let count = 0;
      const load: FakeModels["load"] = async (path, options) => {
        const model = await failing.load(path, options);
        return {
          ...model,
          generate: (prompt, options) => {
            if (count++ === stop) {
              return Promise.reject(new WorkerError("Lost it", { rank: 0, phase: "phase 1" }));
            }
            return model.generate(prompt, options);
          },
        };
      };
      await assertRejects(() => sweep(sweepOptions(folder), { ...failing, load }), WorkerError);
      // A process that is killed in the midst of a write leaves a part of a line.
      const [path] = await recordFiles(`${folder}/sweep`);
      if (path !== undefined) await Deno.writeTextFile(path, '{"number":', { append: true });
      const models = judging();
      await sweep(sweepOptions(folder), models);
      assertEquals(models.asked.length, SAMPLES - stop, `cut off at ${stop}`);
      assertEquals(await tablesOf(folder), expected);
    });
  }
});

async function recordFiles(sweep: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name: length } of Deno.readDir(sweep)) {
    if (!/^\d+$/.test(length)) continue;
    for await (const { name } of Deno.readDir(`${sweep}/${length}`)) {
      if (name === "data") continue;
      for await (const { name: file } of Deno.readDir(`${sweep}/${length}/${name}`)) {
        if (file.endsWith(".jsonl")) paths.push(`${sweep}/${length}/${name}/${file}`);
      }
    }
  }
  return paths.toSorted();
}

Deno.test("runSweep() in several processes shares the work, and in any order gives the same", async () => {
  const expected = await undisturbed();
  await inFolder({}, async (folder) => {
    const all = Array.from({ length: 4 }, () => judging());
    const outcomes = await Promise.all(all.map((models, i) => {
      const { grids, ...options } = sweepOptions(folder, { batchSize: 1 + i });
      const turned = i % 2 === 0 ? grids : grids.map((grid) => ({
        ...grid,
        attn_type: grid.attn_type.toReversed(),
        threshold: [0.9, 0.5],
      }));
      return sweep({ ...options, grids: turned }, models);
    }));
    assertEquals(all.reduce((sum, { asked }) => sum + asked.length, 0), SAMPLES);
    assertEquals(outcomes.flatMap(({ made }) => made).length, 4);
    assertEquals(await tablesOf(folder), expected);
  });
});

Deno.test("runSweep() runs a part of the work with --shard, and the parts make the whole", async () => {
  const expected = await undisturbed();
  await inFolder({}, async (folder) => {
    let asked = 0;
    for (const index of [1, 0, 2]) {
      const models = judging();
      const shard = { index, count: 3 };
      const { logged } = await sweep(sweepOptions(folder, { shard }), models);
      asked += models.asked.length;
      const isLast = index === 2;
      assertEquals(logged.at(-1)?.includes("units are not finished"), !isLast, logged.at(-1));
    }
    assertEquals(asked, SAMPLES);
    assertEquals(await tablesOf(folder), expected);
  });
});

Deno.test("runSweep() adds samples, settings and tasks to a sweep", async () => {
  await inFolder({}, async (folder) => {
    await sweep(sweepOptions(folder, { tasks: ["vt"] }), judging());
    const models = judging();
    const grids = [{ attn_type: ["xattn" as const], threshold: [0.5, 0.7] }];
    await sweep(sweepOptions(folder, { grids, tasks: ["vt"], sampleCount: 5 }), models);
    // Two more of one setting, five of the new one, at two lengths.
    assertEquals(models.asked.length, 14);
    const { rows } = await readSweep(`${folder}/sweep`);
    const counts = rows.filter(({ length }) => length === 512)
      .map(({ name, sampleCount }) => `${name} ${sampleCount}`);
    assertEquals(counts, [
      ...["dense 3", "starx_b1of2_s16_t0.5 3", "starx_b1of2_s16_t0.9 3"],
      ...["xattn_s16_t0.5 5", "xattn_s16_t0.7 5", "xattn_s16_t0.9 3"],
    ]);
    // Fewer: the first ones count, and what there is stays.
    const fewer = judging();
    await sweep(sweepOptions(folder, { grids, tasks: ["vt"], sampleCount: 2 }), fewer);
    assertEquals(fewer.asked.length, 0);
    const two = await readSweep(`${folder}/sweep`);
    assertEquals([...new Set(two.rows.map(({ sampleCount }) => sampleCount))], [2]);
  });
});

Deno.test("runSweep() binds results to the sets that STARX_ISA forces", async () => {
  const [other, { best }] = [await otherSet(), await describeCpu()];
  const forced = [
    [other, "STARX_ISA: cannot continue"],
    [`${best}+${other}`, "STARX_ISA, rows of decode steps: cannot continue"],
  ] as const;
  for (const [isa, message] of forced) {
    await inFolder({}, async (folder) => {
      const options = sweepOptions(folder, { tasks: ["vt"], lengths: [512], device: "cpu" });
      await withIsa(isa, () => sweep(options, judging()));
      const more = { ...options, sampleCount: options.sampleCount + 1 };
      await assertRejects(
        () => withIsa(undefined, () => sweep(more, judging())),
        UsageError,
        message,
      );
      await withIsa(isa, () => sweep(more, judging()));
    });
  }
});

Deno.test("runSweep() refuses results of other options, and says so of tasks without data", async () => {
  await inFolder({}, async (folder) => {
    const options = sweepOptions(folder, { tasks: ["vt", "niah_single_2"], lengths: [512] });
    const { logged } = await sweep(options, judging());
    assert(logged.includes("niah_single_2 at 512: skipped, the essays are missing"));
    assertStringIncludes(logged.at(-1) ?? "", "Results: ");
    await assertRejects(
      () => sweep({ ...options, dtype: "f32" }, judging()),
      UsageError,
      "--dtype: cannot continue the results in",
    );
    await assertRejects(
      () => sweep(sweepOptions(folder, { lengths: [32_768] }), judging()),
      UsageError,
      "--seq_lengths: must be at most the model's 16384 positions",
    );
    await assertRejects(
      () => sweep({ ...options, grids: [{ attn_type: ["xattn"], density: [0.2] }] }, judging()),
      UsageError,
      "--curves is required with --density",
    );
    const path = `${folder}/sweep/512/dense/vt.jsonl`;
    const unit = await readUnit(path);
    assertEquals(unit?.records.size, 3);
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, text.replace('"attn_type":"dense","device"', '"device"'));
    await assertRejects(
      () => sweep({ ...options, sampleCount: 4 }, judging()),
      UsageError,
      "--attn_type: cannot continue",
    );
    await Deno.writeTextFile(path, text + text.split("\n").slice(1, 2).join("") + "\n");
    await assertRejects(() => readSweep(`${folder}/sweep`), FileError, "line 5 repeats sample 0");
  });
});
