import { reportPage, writeReport } from "../../commands/report/report.ts";
import { layOut, maskPath } from "../../commands/report/masks.ts";
import { deltaRows, timeRows } from "../../commands/report/model.ts";
import type { Experiment, SampleResult } from "../../commands/results/experiment.ts";
import { TileMasks } from "../../lib/attention/tile_masks.ts";
import { FileError } from "../../lib/errors.ts";
import { meanScore } from "../../ruler/scores.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "../helpers/assert.ts";
import { fakeModels } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { optionsIn, ruler } from "../helpers/ruler_run.ts";
import { sweep, sweepOptions } from "../helpers/sweep_run.ts";

function sample(index: number, score: number, changes: Partial<SampleResult> = {}): SampleResult {
  return {
    ...{ number: index, index, score, prediction: "p", answers: ["a"], query: `q${index}` },
    ...{ contextTail: "c", others: new Map(), log: {} },
    ...changes,
  };
}

function experiment(name: string, samples: readonly SampleResult[]): Experiment {
  const mean = meanScore(samples.map(({ score = 0 }) => score));
  const task = { task: "vt", maxTokens: 4096, mean, samples, seconds: 1, density: 0.5 };
  return {
    name,
    folder: "nowhere",
    lengths: [{ maxTokens: 4096, folder: "nowhere", record: undefined, tasks: [task] }],
  };
}

Deno.test("deltaRows() pairs samples, so that what is hard for both runs drops out", () => {
  const scores = Array.from({ length: 40 }, (_, index) => index % 2 === 0 ? 100 : 0);
  const base = experiment("base", scores.map((score, index) => sample(index, score)));
  const same = experiment("same", scores.map((score, index) => sample(index, score)).reverse());
  assertEquals(deltaRows(base, same), [{ length: 4096, task: "vt", n: 40, delta: 0, stderr: 0 }]);
  const better = experiment("better", scores.map((score, i) => sample(i, i === 1 ? 100 : score)));
  const [row] = deltaRows(base, better);
  assertAlmostEquals(row?.delta ?? 0, 2.5);
  // Unpaired, the error of the difference would be about 11.
  assert((row?.stderr ?? 0) < 4, `${row?.stderr}`);
  const others = experiment("others", [sample(0, 0, { query: "another" }), sample(1, 0)]);
  assertEquals(deltaRows(base, others).map(({ n }) => n), [1]);
});

Deno.test("timeRows() gives samples that run at once their share of the time", () => {
  const timed = (seconds: number, prefillSeconds: number, decodeSeconds: number) => {
    const ranks = [{ prefillSeconds, decodeSeconds, residentMib: 7 }];
    const log = { seconds, contextTokens: 1000, generatedTokens: 10, ranks };
    return timeRows([experiment("x", [sample(0, 100, { log })])])[0];
  };
  const parts = (row: ReturnType<typeof timed>) => [row?.phase1, row?.phase2, row?.rest];
  // Alone: what the phases leave is the rest.
  assertEquals(parts(timed(4, 1, 2)), [1, 2, 1]);
  // In a batch a sample's answer takes longer than its share, as the others' tokens come with it.
  const batch = timed(4, 1, 12);
  assertEquals(parts(batch), [1, 3, 0]);
  assertAlmostEquals(batch?.generatedTokensPerS ?? 0, 10 / 3, 1e-9);
  // Copies of the model encode at once.
  assertEquals(parts(timed(4, 6, 2)), [3, 1, 0]);
});

Deno.test("reportPage() shows answers as text, whatever they hold", async () => {
  const evil = `</script><img src=x onerror="alert(1)">\u0000`;
  const bad = experiment(evil, [sample(0, 0, { prediction: evil, answers: [evil], query: evil })]);
  const page = await reportPage([bad, { ...bad, name: "b" }], {
    draw: (specs) => Promise.resolve(specs.map(() => '<svg class="marks"></svg>')),
  });
  assert(!page.includes("<img"));
  assert(!page.includes("\u0000"));
  assertStringIncludes(page, "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;");
  assertEquals(page.match(/<\/script>/g)?.length, 1);
});

Deno.test("reportPage() shows a sweep: a line for each method, a row for each setting", async () => {
  await inFolder({}, async (folder) => {
    await sweep(sweepOptions(folder), fakeModels(({ query }) => query));
    const specs: Readonly<Record<string, unknown>>[] = [];
    const outputPath = `${folder}/report.html`;
    await writeReport({
      folders: [`${folder}/sweep`],
      outputPath,
      draw: (given) => {
        specs.push(...given);
        return Promise.resolve(given.map(() => '<svg class="marks"></svg>'));
      },
    });
    const page = await Deno.readTextFile(outputPath);
    assertEquals(specs.length, 2);
    const [scores, deltas] = specs.map(({ data }) => JSON.stringify(data));
    for (const method of ["dense", "xattn, s16, one threshold", "starx, b1of2, s16, one thres"]) {
      assertStringIncludes(scores ?? "", `"method":"${method}`);
    }
    // What is exact is compared with nothing, and starx's star is not in this sweep.
    assert(!deltas?.includes('"method":"dense"') && !deltas?.includes('"method":"starx'));
    assertEquals(page.match(/<th scope="row">xattn_s16_t0.5<\/th>/g)?.length, 2);
    assertEquals(page.match(/<h1>Sweep sweep<\/h1>/g)?.length, 1);
    assert(!page.includes('id="scores"'));
  });
});

Deno.test("reportPage() shows a sweep's scores against the share of the keys that are read", async () => {
  await inFolder({}, async (folder) => {
    const grids = [{ attn_type: ["dense" as const], decode_keep: [1, 0.5, "tau:0.9"] }];
    const options = sweepOptions(folder, { grids, lengths: [512] });
    await sweep(options, fakeModels(({ query }) => query));
    const specs: Readonly<Record<string, unknown>>[] = [];
    await writeReport({
      folders: [`${folder}/sweep`],
      outputPath: `${folder}/report.html`,
      draw: (given) => {
        specs.push(...given);
        return Promise.resolve(given.map(() => '<svg class="marks"></svg>'));
      },
    });
    const points = specs.map(({ data }) =>
      (data as { values: { method: string; cost: number }[] }).values.map(({ method, cost }) =>
        `${method} ${cost}`
      )
    );
    // What a threshold reads is not known; all keys are compared with nothing.
    assertEquals(points.slice(2), [["dense 1", "dense 0.5"], ["dense 0.5"]]);
  });
});

Deno.test("reportPage() shows a file of calibrate: heat maps before and after", async () => {
  const kept = (density: number) => ({ density: [[density, 0.5]], kept: [[0.9, 1]] });
  const value = {
    ...{ stride: 16, layers: [[0.9, 0.5], [0.95, 0.95]], model: null },
    before: { threshold: 0.95, ...kept(0.7) },
    after: kept(0.3),
  };
  const files = { "t.json": JSON.stringify(value), "n.json": '{"layers": [[1]]}' };
  await inFolder(files, async (folder) => {
    const specs: Readonly<Record<string, unknown>>[] = [];
    const outputPath = `${folder}/report.html`;
    const draw = (given: readonly Readonly<Record<string, unknown>>[]) => {
      specs.push(...given);
      return Promise.resolve(given.map(() => '<svg class="marks"></svg>'));
    };
    await writeReport({ folders: [`${folder}/t.json`], outputPath, draw });
    const [density, , thresholds] = specs.map(({ data }) => data as { values: unknown[] });
    assertEquals(density?.values, [
      { experiment: "0.95 for all", layer: 0, head: 0, share: 0.7 },
      { experiment: "0.95 for all", layer: 0, head: 1, share: 0.5 },
      { experiment: "by head", layer: 0, head: 0, share: 0.3 },
      { experiment: "by head", layer: 0, head: 1, share: 0.5 },
    ]);
    assertEquals(thresholds?.values.length, 4);
    const page = await Deno.readTextFile(outputPath);
    assertStringIncludes(page, '<th scope="row">by head</th><td>0.400</td><td>0.950</td>');
    await assertRejects(
      () => writeReport({ folders: [`${folder}/n.json`], outputPath, draw }),
      FileError,
      'n.json as it must be a file of calibrate, with "layers", "before" and "after"',
    );
  });
});

Deno.test("reportPage() calls shares of calibrate what they are", async () => {
  const kept = (density: number) => ({ density: [[density, 0.5]], kept: [[0.9, 1]] });
  const value = {
    ...{ stride: 16, rule: "share", layers: [[0.1, 0.02], [0.05, 0.05]], model: null },
    before: { threshold: "share:0.05", ...kept(0.7) },
    after: kept(0.3),
  };
  await inFolder({ "s.json": JSON.stringify(value) }, async (folder) => {
    const specs: Readonly<Record<string, unknown>>[] = [];
    const outputPath = `${folder}/report.html`;
    const draw = (given: readonly Readonly<Record<string, unknown>>[]) => {
      specs.push(...given);
      return Promise.resolve(given.map(() => '<svg class="marks"></svg>'));
    };
    await writeReport({ folders: [`${folder}/s.json`], outputPath, draw });
    const [density, , shares] = specs.map(({ data }) => data as { values: unknown[] });
    assertEquals(density?.values[0], {
      ...{ experiment: "share:0.05 for all", layer: 0, head: 0, share: 0.7 },
    });
    assertEquals(shares?.values[1], { experiment: "by head", layer: 0, head: 1, share: 0.02 });
    const page = await Deno.readTextFile(outputPath);
    assertStringIncludes(page, "Shares s.json");
    assertStringIncludes(page, "must hold by itself");
    assertEquals(page.includes("Thresholds s.json"), false);
  });
});

Deno.test("layOut() puts each block's tiles where they belong in the whole context", async () => {
  const masks = new TileMasks();
  const tensor = (values: readonly number[], shape: readonly number[]) => ({
    shape,
    toInts: () => Promise.resolve(Int32Array.from(values)),
  });
  // Two blocks of two tiles behind an anchor of one: the second sees the anchor, then itself.
  const add = async (block: number, width: number, rows: readonly (readonly number[])[]) => {
    const counts = tensor(rows.map((row) => row.length), [1, 2]);
    const padded = rows.flatMap((row) => [...row, ...Array(width - row.length).fill(0)]);
    const indices = tensor(padded, [1, 2, width]);
    await masks.add({ layer: 0, counts, indices } as unknown as Parameters<TileMasks["add"]>[0], {
      block,
      firstRow: 0,
    });
  };
  await add(0, 2, [[0], [0, 1]]);
  await add(1, 3, [[0, 1], [2]]);
  const set = layOut({
    ...{ sample: 0, contextTokens: 512, masks: masks.all },
    cut: { kind: "blocks", blockTokens: 256, anchorTokens: 128, merge: "lse" },
  }, { experiment: "x", length: 512, task: "vt" });
  assertEquals([set.tiles, set.blockStarts, set.anchorTiles], [4, [0, 2], 1]);
  assertEquals([...set.masks[0]?.[0] ?? []], [
    ...[1, 0, 0, 0],
    ...[1, 1, 0, 0],
    ...[1, 0, 1, 0],
    ...[0, 0, 0, 1],
  ]);
  assertEquals(
    maskPath(set.masks[0]?.[0] ?? new Uint8Array(), 4),
    "M0 0h1v1h-1zM0 1h2v1h-2zM0 2h1v1h-1zM2 2h1v1h-1zM3 3h1v1h-1z",
  );
});

Deno.test("runRuler() succeeds without its report where that cannot be drawn, and says why", async () => {
  await inFolder({}, async (folder) => {
    // Results in a file's place: the report cannot be written.
    const root = `${folder}/results/tiny_starx_b256a256`;
    await Deno.mkdir(`${root}/report.html`, { recursive: true });
    const models = fakeModels(({ query }) => query);
    const { logged, table } = await ruler(
      optionsIn(folder, { tasks: ["vt"], withReport: true }),
      models,
    );
    assertStringIncludes(table, "vt              100.0 ± 0.0");
    assert(logged.at(-1)?.startsWith("No report: "), logged.at(-1));
  });
});
