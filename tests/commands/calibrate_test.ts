/**
 * Thresholds from curves, and `calibrate` on the model of the repository: the same file every time,
 * on any number of processes, and when it is cut off.
 *
 * @module
 */
import { runCalibrate } from "../../commands/calibrate/calibrate.ts";
import type { CalibrateOptions } from "../../commands/calibrate/options.ts";
import { CurveFile } from "../../commands/calibrate/curve_file.ts";
import {
  chooseSteps,
  keptBy,
  meanKept,
  poolCurves,
  stepKeeping,
} from "../../commands/calibrate/thresholds.ts";
import { thresholdOf } from "../../commands/shared/threshold_flag.ts";
import {
  isTable,
  ruleOf,
  type Threshold,
  TILE_RULES,
  type TileRule,
} from "../../lib/attention/thresholds.ts";
import { CURVE_STEPS, nearestStep } from "../../lib/attention/curve_steps.ts";
import { MassCurves } from "../../lib/attention/mass_curves.ts";
import { FileError, UsageError, WorkerError } from "../../lib/errors.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { otherSet, withIsa } from "../helpers/isa.ts";
import { MODEL } from "../helpers/prompts.ts";
import { Random } from "../helpers/random.ts";

/** Curves of random rows of tiles; a head's mass is the flatter the higher its number. */
function randomCurves(seed: number, rule: TileRule = "threshold"): MassCurves {
  const random = new Random(seed);
  const [layers, heads, tiles] = [2, 4, 12];
  const curves = new MassCurves({ layers, heads, rule });
  for (let layer = 0; layer < layers; layer++) {
    const mass = new Float32Array(heads * tiles * tiles);
    const exact = mass.map((_, i) => {
      const [head, row] = [Math.floor(i / tiles / tiles), Math.floor(i / tiles) % tiles];
      if (i % tiles > row) return 0;
      mass[i] = random.unit() ** (8 - 2 * head);
      return (mass[i] ?? 0) * (0.5 + random.unit());
    });
    const seenBy = (row: number) => [0, row] as const;
    curves.add({ layer, shape: [heads, tiles, tiles], mass, exact, seenBy });
  }
  return curves;
}

Deno.test("chooseSteps() gives each head the smallest step that keeps its share", () => {
  const prompts = [randomCurves(1), randomCurves(2)];
  const [first] = prompts;
  assert(first !== undefined);
  const alone = chooseSteps([first], { kind: "keep", share: 0.9 });
  alone.forEach((heads, layer) =>
    heads.forEach((step, head) => {
      const { kept } = first.of(layer, head);
      assert((kept[step] ?? 0) >= 0.9);
      assert(step === 0 || (kept[step - 1] ?? 0) < 0.9);
    })
  );
  const both = chooseSteps(prompts, { kind: "keep", share: 0.9 });
  const mean = prompts.reduce((sum, curves) => sum + stepKeeping(curves.of(0, 0), 0.9), 0) / 2;
  assertEquals(both[0]?.[0], Math.ceil(mean));
  assertEquals(chooseSteps(prompts, { kind: "keep", share: 1 }).flat().every((s) => s > 100), true);
});

for (const rule of TILE_RULES) {
  Deno.test(`chooseSteps() by ${rule} keeps more where tiles go to the heads that need them`, () => {
    checkSpread(rule);
  });
}

function checkSpread(rule: TileRule): void {
  const prompts = [randomCurves(3, rule), randomCurves(4, rule)];
  const pooled = poolCurves(prompts);
  const of = (steps: readonly (readonly number[])[]) => meanKept(keptBy(pooled, steps).flat());
  for (const density of [0.3, 0.5, 0.8]) {
    const steps = chooseSteps(prompts, { kind: "density", density });
    const spread = of(steps);
    assert(spread.density <= density + 1e-12, `${spread.density} of ${density}`);
    // No number for all heads that takes at most as many tiles keeps as much.
    for (let step = 0; step <= CURVE_STEPS; step++) {
      const uniform = of(steps.map((heads) => heads.map(() => step)));
      if (uniform.density <= spread.density) assert(uniform.kept <= spread.kept + 1e-9);
    }
    const back = of(chooseSteps(prompts, { kind: "mean keep", share: spread.kept - 1e-9 }));
    assert(back.kept >= spread.kept - 1e-9 && back.density <= spread.density + 0.02);
  }
  assertEquals(of(chooseSteps(prompts, { kind: "density", density: 1 })).kept, 1);
}

const WORDS = ["grass", "sky", "sun", "sea", "hill", "road", "lamp", "stone"];
/** Two prompts of some 1,500 tokens. */
const INPUT = [7, 8].map((seed) => {
  const random = new Random(seed);
  const word = () => WORDS[random.below(WORDS.length)] ?? "";
  const text = Array.from({ length: 220 }, () => `The ${word()} is near the ${word()}. `).join("");
  return `${JSON.stringify({ input_context: text, input_query: "The sky is", outputs: [] })}\n`;
});

function optionsIn(folder: string, changes: Partial<CalibrateOptions> = {}): CalibrateOptions {
  return {
    modelPath: MODEL,
    outputPath: `${folder}/t.json`,
    inputPath: `${folder}/in.jsonl`,
    template: "base",
    tasks: [],
    lengths: [],
    sampleCount: -1,
    sourceDir: undefined,
    rule: "threshold",
    plan: { mode: "starx", blockTokens: 512, stride: 16, threshold: 0.95 },
    goal: { kind: "keep", share: 0.9 },
    device: "cpu",
    dtype: "f32",
    processCount: 1,
    threads: 1,
    timeoutMs: 60_000,
    ...changes,
  };
}

async function calibrate(
  options: CalibrateOptions,
  load: typeof loadModel = loadModel,
): Promise<string> {
  const screen = fakeScreen();
  await runCalibrate(options, { screen, cleanup: NO_INTERRUPTS, loadModel: load });
  return screen.printed.join("");
}

Deno.test("curves say which tiles a threshold takes, and their attention is exact", async () => {
  const { input_context: context, input_query: query } = JSON.parse(INPUT[0] ?? "");
  const run = async (threshold: Threshold, withCurves: boolean) => {
    const plan = { mode: "starx", blockTokens: 512, anchorTokens: 256, threshold } as const;
    const here = { device: "cpu", precision: "f32", threads: 1 } as const;
    await using model = await loadModel(MODEL, { ...here, ...plan });
    const call = { tokensToGenerate: 3, topLogits: 4, withCurves };
    return await model.generate({ context, query }, call);
  };
  const { result, topLogits, ids } = await run(0.8, true);
  assert(result.curves !== undefined);
  const curves = MassCurves.fromWire(result.curves);
  const exact = await run(1, false);
  assertEquals(ids, exact.ids);
  topLogits.forEach(([id, logit], i) => {
    const [other, value = NaN] = exact.topLogits[i] ?? [];
    assert(id === other && Math.abs(logit - value) < 1e-3, `${id} ${logit}: ${other} ${value}`);
  });
  // What the first layer selects depends on the embedding alone.
  for (const threshold of [0.5, 0.8]) {
    const { result: { headShares: [shares = []] } } = await run(threshold, false);
    assertEquals(shares.length, curves.heads);
    shares.forEach((share, head) => {
      const { tiles } = curves.of(0, head);
      const expected = (tiles[threshold * CURVE_STEPS] ?? 0) / (tiles[CURVE_STEPS] ?? 0);
      assert(Math.abs(share - expected) < 1e-9, `head ${head}: ${share} of ${expected}`);
    });
  }
  // With a share for a threshold they are curves of shares.
  const measured = await run({ share: 0.05 }, true);
  assert(measured.result.curves?.rule === "share");
  const ofShares = MassCurves.fromWire(measured.result.curves);
  for (const share of [0.02, 0.05]) {
    const { result: { headShares: [shares = []] } } = await run({ share }, false);
    shares.forEach((computed, head) => {
      const { tiles } = ofShares.of(0, head);
      const expected = (tiles[nearestStep(share, "share")] ?? 0) / (tiles[CURVE_STEPS] ?? 0);
      assert(Math.abs(computed - expected) < 1e-9, `head ${head}: ${computed} of ${expected}`);
    });
  }
});

Deno.test("generate() refuses curves in modes that have none", async () => {
  for (const mode of ["dense", "ringx"] as const) {
    await using model = await loadModel(MODEL, { device: "cpu", threads: 1, mode });
    await assertRejects(
      () => model.generate({ context: "a", query: "b" }, { withCurves: true }),
      UsageError,
      `'withCurves' must be absent in a mode that is neither xattn nor starx: current value is ${mode}`,
    );
  }
});

Deno.test("calibrate makes the same file again, cut off, and on two processes", async () => {
  await inFolder({ "in.jsonl": INPUT.join("") }, async (folder) => {
    const printed = await calibrate(optionsIn(folder));
    assertStringIncludes(printed, "tiles at 0.95");
    const text = await Deno.readTextFile(`${folder}/t.json`);
    const curves = await Deno.readTextFile(`${folder}/t.json.curves.jsonl`);
    const table = JSON.parse(text);
    const read = thresholdOf(`${folder}/t.json`);
    assert(isTable(read) && read.layers.length === 6 && read.layers[0]?.length === 8);
    // What is kept after is what was asked for, head by head but for the mean over prompts.
    const kept: number[] = table.after.kept.flat();
    assert(kept.every((share) => share > 0.85), String(Math.min(...kept)));
    assert(new Set(read.layers.flat()).size > 3, "heads differ");
    // Nothing is measured again.
    const never = () => Promise.reject(new Error("a model is not needed"));
    await calibrate(optionsIn(folder), never);
    assertEquals(await Deno.readTextFile(`${folder}/t.json`), text);
    // An interrupted run, whose last line is cut, on two processes.
    const lines = curves.split("\n");
    const cut = `${lines.slice(0, 2).join("\n")}\n${lines[2]?.slice(0, 100)}`;
    await Deno.writeTextFile(`${folder}/t.json.curves.jsonl`, cut);
    await calibrate(optionsIn(folder, { processCount: 2 }));
    assertEquals(await Deno.readTextFile(`${folder}/t.json`), text);
    assertEquals(await Deno.readTextFile(`${folder}/t.json.curves.jsonl`), curves);
    await using model = await loadModel(MODEL, {
      ...{ device: "cpu", precision: "f32", threads: 1 },
      ...{ mode: "starx", blockTokens: 512, threshold: read },
    });
    const { input_context: context, input_query: query } = JSON.parse(INPUT[0] ?? "");
    const { result } = await model.generate({ context, query }, { tokensToGenerate: 1 });
    const [selected, causal] = result.selectedTiles.reduce(
      ([a, b], [c, d]) => [a + c, b + d],
      [0, 0],
    );
    assert(selected < causal);
  });
});

Deno.test("calibrate in xattn shares the prompts among processes, and writes the same", async () => {
  await inFolder({ "in.jsonl": INPUT.join("") }, async (folder) => {
    const plan = { mode: "xattn" } as const;
    const filesOf = () =>
      Promise.all(
        ["t.json", "t.json.curves.jsonl"].map((name) => Deno.readTextFile(`${folder}/${name}`)),
      );
    const loads: (readonly [number | undefined, number | undefined])[] = [];
    const load: typeof loadModel = (path, options = {}) => {
      loads.push([options.processCount, options.replicas]);
      return loadModel(path, options);
    };
    await calibrate(optionsIn(folder, { plan }), load);
    const alone = await filesOf();
    for (const changes of [{ processCount: 2 }, { replicas: 3 }]) {
      await calibrate(optionsIn(folder, { plan, overwrite: true, ...changes }), load);
      assertEquals(await filesOf(), alone);
    }
    // There are two prompts: a third process would have nothing to do.
    assertEquals(loads, [[1, 1], [1, 2], [1, 2]]);
  });
});

Deno.test("calibrate finds shares: the same file again, cut off, and on two processes", async () => {
  await inFolder({ "in.jsonl": INPUT.join("") }, async (folder) => {
    const filesOf = () =>
      Promise.all(
        ["t.json", "t.json.curves.jsonl"].map((name) => Deno.readTextFile(`${folder}/${name}`)),
      );
    const by = (changes: Partial<CalibrateOptions> = {}) =>
      optionsIn(folder, {
        rule: "share",
        plan: { mode: "starx", blockTokens: 512, stride: 16, threshold: { share: 0.05 } },
        goal: { kind: "density", density: 0.4 },
        ...changes,
      });
    assertStringIncludes(await calibrate(by()), "tiles at share:0.05");
    const files = await filesOf();
    const read = thresholdOf(`${folder}/t.json`);
    assert(isTable(read) && ruleOf(read) === "share");
    assert(new Set(read.layers.flat()).size > 3, "heads differ");
    assertEquals(read.layers.at(-1), Array(8).fill(0.05), "the last layer selects nothing");
    const { after, before } = JSON.parse(files[0] ?? "");
    assertEquals(before.threshold, "share:0.05");
    const density = after.density.flat().reduce((sum: number, one: number) => sum + one) / 40;
    assert(density > 0.37 && density <= 0.4, String(density));
    const lines = (files[1] ?? "").split("\n");
    const cut = `${lines.slice(0, 2).join("\n")}\n${lines[2]?.slice(0, 100)}`;
    await Deno.writeTextFile(`${folder}/t.json.curves.jsonl`, cut);
    await calibrate(by({ processCount: 2 }));
    assertEquals(await filesOf(), files);
    // A share for all heads and prompts, as a profile.
    const never = () => Promise.reject(new Error("a model is not needed"));
    await calibrate(by({ goal: { kind: "keep", share: 0.9 } }), never);
    const kept: number[] = JSON.parse((await filesOf())[0] ?? "").after.kept.flat();
    assert(kept.every((share) => share > 0.85), String(Math.min(...kept)));
    await assertRejects(
      () => calibrate(optionsIn(folder)),
      UsageError,
      "--rule: cannot continue the curves in",
    );
    const [options = "", first = "", second = ""] = lines;
    const other = second.replace(',"rule":"share"', "");
    await Deno.writeTextFile(
      `${folder}/t.json.curves.jsonl`,
      `${[options, first, other].join("\n")}\n`,
    );
    await assertRejects(
      () => calibrate(by()),
      FileError,
      "line 3 must have curves of 5 layers, 8 heads and rule share as the first prompt's: " +
        "current value is 5 layers, 8 heads and rule threshold",
    );
  });
});

Deno.test("calibrate goes on after a lost process, and refuses curves of other options", async () => {
  await inFolder({ "in.jsonl": INPUT.join("") }, async (folder) => {
    let calls = 0;
    const losing: typeof loadModel = async (path, options) => {
      const model = await loadModel(path, options);
      const generate = model.generate.bind(model);
      model.generate = (prompt, call) => {
        if (++calls === 2) throw new WorkerError("lost", { rank: 0, phase: "phase 1" });
        return generate(prompt, call);
      };
      return model;
    };
    await assertRejects(() => calibrate(optionsIn(folder), losing), WorkerError, "lost");
    const exists = await Deno.stat(`${folder}/t.json`).then(() => true, () => false);
    assertEquals(exists, false);
    const other = {
      plan: { mode: "starx", blockTokens: 256, stride: 16, threshold: 0.95 },
    } as const;
    await assertRejects(
      () => calibrate(optionsIn(folder, other)),
      UsageError,
      "--block_size: cannot continue the curves in",
    );
    await assertRejects(
      async () => await withIsa(await otherSet(), () => calibrate(optionsIn(folder))),
      UsageError,
      "STARX_ISA: cannot continue the curves in",
    );
    await calibrate(optionsIn(folder));
    assertEquals((await Deno.readTextFile(`${folder}/t.json.curves.jsonl`)).split("\n").length, 4);
  });
});

Deno.test("calibrate refuses a threshold between its steps, and a file that holds no curves", async () => {
  await inFolder({ "in.jsonl": INPUT.join(""), "c.jsonl": "{}\n" }, async (folder) => {
    const plan = { mode: "xattn", threshold: 0.951 } as const;
    await assertRejects(
      () => calibrate(optionsIn(folder, { plan })),
      UsageError,
      "--threshold: must be a multiple of 0.005: current value is 0.951",
    );
    const refused = [
      [
        { rule: "share", plan: { mode: "xattn" } },
        "share:X with --rule share: current value is 0.95",
      ],
      [
        { plan: { mode: "xattn", threshold: { share: 0.05 } } },
        "a multiple of 0.005 without --rule share: current value is share:0.05",
      ],
      [
        { rule: "share", plan: { mode: "xattn", threshold: { share: 0.051 } } },
        "one of the steps, of which share:0.05 is near: current value is share:0.051",
      ],
    ] as const;
    for (const [changes, what] of refused) {
      await assertRejects(
        () => calibrate(optionsIn(folder, changes)),
        UsageError,
        `--threshold: must be ${what}`,
      );
    }
    await assertRejects(
      () => CurveFile.open(`${folder}/c.jsonl`, {}),
      FileError,
      "its first line must have the options of a run",
    );
  });
});
