/**
 * What layers are worth to answers: shares that are weighed by it, and `calibrate --by answers` on the
 * model of the repository.
 *
 * @module
 */
import { runCalibrate } from "../../commands/calibrate/calibrate.ts";
import { readCurves } from "../../commands/calibrate/curve_file.ts";
import { poolMeasured, worthOf } from "../../commands/calibrate/effects.ts";
import type { CalibrateOptions } from "../../commands/calibrate/options.ts";
import { chooseSteps, keptBy, meanKept } from "../../commands/calibrate/thresholds.ts";
import { thresholdOf } from "../../commands/shared/threshold_flag.ts";
import { CURVE_STEPS, thresholdOfStep } from "../../lib/attention/curve_steps.ts";
import { MassCurves } from "../../lib/attention/mass_curves.ts";
import { isTable } from "../../lib/attention/thresholds.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { Random } from "../helpers/random.ts";
import { runScript } from "../helpers/script.ts";

/** Curves of three layers with the same rows of tiles, so that they differ in their worth alone. */
function equalCurves(): MassCurves {
  const random = new Random(11);
  const [layers, heads, tiles] = [3, 2, 16];
  const curves = new MassCurves({ layers, heads, rule: "share" });
  const mass = Float32Array.from({ length: heads * tiles * tiles }, (_, i) => {
    return i % tiles <= Math.floor(i / tiles) % tiles ? random.unit() ** 4 : 0;
  });
  const seenBy = (row: number) => [0, row] as const;
  for (let layer = 0; layer < layers; layer++) {
    curves.add({ layer, shape: [heads, tiles, tiles], mass, exact: mass, seenBy });
  }
  return curves;
}

Deno.test("worthOf() is what answers lose for the attention that a layer loses", () => {
  const curves = equalCurves();
  const effects = [{ tokens: 10, lost: [5, 1, 0] }, { tokens: 4, lost: [2, 1, 0] }];
  const [first, second, third] = worthOf(curves, effects);
  assertEquals([first, third], [1, 0]);
  assert(Math.abs((second ?? NaN) - 0.35) < 1e-12, `${second}`);
  // An answer of nothing says nothing, and neither do answers that lose nothing.
  assertEquals(worthOf(curves, [...effects, { tokens: 0, lost: [0, 0, 0] }])[0], 1);
  assertEquals(worthOf(curves, [{ tokens: 10, lost: [0, 0, 0] }]), [1, 1, 1]);
});

Deno.test("chooseSteps() asks more of a tile where attention is worth less", () => {
  const curves = equalCurves();
  for (const density of [0.2, 0.3, 0.5]) {
    const steps = chooseSteps([curves], { kind: "density", density }, [1, 0.25, 0]);
    const shares = steps.map((heads) => heads.map((step) => thresholdOfStep(step, "share")));
    const [[first = NaN] = [], [second = NaN] = []] = shares;
    assertEquals(shares, [[first, first], [second, second], [1, 1]]);
    assert(second === 1 || Math.abs(second / first - 4) < 0.5, `${first} ${second}`);
    const found = meanKept(keptBy(curves, steps).flat()).density;
    assert(found <= density && found > density - 0.05, `${found} of ${density}`);
  }
  // Equal worth is one share for all; and all tiles are all tiles.
  const [row] = chooseSteps([curves], { kind: "density", density: 0.4 }, [1, 1, 1]);
  const equal = chooseSteps([curves], { kind: "density", density: 0.4 }, [0.5, 0.5, 0.5]);
  assertEquals(new Set(equal.flat()).size, 1);
  assert(row !== undefined && Math.abs((row[0] ?? 0) - (equal[0]?.[0] ?? 0)) <= 11);
  const all = chooseSteps([curves], { kind: "density", density: 1 }, [1, 1, 1]);
  assertEquals(meanKept(keptBy(curves, all).flat()).kept, 1);
  assert(all.flat().every((step) => step <= CURVE_STEPS));
});

const TEXT = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n";
const NEEDLE = "One of the special magic numbers for quiet-harbor is: 4815162.\n";
/** A needle in front of its query: the answer needs more than the diagonal. */
const INPUT = [9, 12].map((lines) =>
  `${
    JSON.stringify({
      input_context: TEXT.repeat(lines) + NEEDLE + TEXT.repeat(24 - lines),
      input_query: "The special magic number for quiet-harbor mentioned in the provided text is",
      outputs: ["4815162"],
    })
  }\n`
);

function optionsIn(folder: string, changes: Partial<CalibrateOptions> = {}): CalibrateOptions {
  return {
    modelPath: MODEL,
    outputPath: `${folder}/t.json`,
    inputPath: `${folder}/in.jsonl`,
    ...{ template: "base", tasks: [], lengths: [], sampleCount: -1, sourceDir: undefined },
    plan: { mode: "xattn", threshold: { share: 0.05 } },
    ...{ rule: "share", by: "answers", goal: { kind: "density", density: 0.5 } },
    ...{ device: "cpu", dtype: "f32", processCount: 1, threads: 1, timeoutMs: 60_000 },
    ...changes,
  };
}

async function calibrate(options: CalibrateOptions, load = loadModel): Promise<string> {
  const screen = fakeScreen();
  await runCalibrate(options, { screen, cleanup: NO_INTERRUPTS, loadModel: load });
  return screen.printed.join("");
}

Deno.test("calibrate --by answers makes the same file again, cut off, and on two processes", async () => {
  await inFolder({ "in.jsonl": INPUT.join("") }, async (folder) => {
    const filesOf = () =>
      Promise.all(
        ["t.json", "t.json.curves.jsonl"].map((name) => Deno.readTextFile(`${folder}/${name}`)),
      );
    await calibrate(optionsIn(folder));
    const files = await filesOf();
    const { measured } = await readCurves(`${folder}/t.json.curves.jsonl`);
    const { worth = [] } = poolMeasured(measured);
    assertEquals(worth.length, 5);
    assertEquals(Math.max(...worth), 1);
    const table = thresholdOf(`${folder}/t.json`);
    assert(isTable(table));
    const shares = table.layers.slice(0, 5).map(([share = NaN]) => share);
    worth.forEach((one, layer) =>
      worth.forEach((other, below) => {
        if (one > other) assert((shares[layer] ?? 0) <= (shares[below] ?? 0), `${shares}`);
      })
    );
    assertEquals(JSON.parse(files[0] ?? "").worth, worth.map((one) => Number(one.toFixed(4))));
    const lines = (files[1] ?? "").split("\n");
    const cut = `${lines.slice(0, 2).join("\n")}\n${lines[2]?.slice(0, 100)}`;
    await Deno.writeTextFile(`${folder}/t.json.curves.jsonl`, cut);
    await calibrate(optionsIn(folder, { processCount: 2 }));
    assertEquals(await filesOf(), files);
    await assertRejects(
      () => calibrate(optionsIn(folder, { by: "attention" })),
      UsageError,
      "--by: cannot continue the curves in",
    );
    const [options = "", first = "", second = ""] = lines;
    for (
      const [from, to, message] of [
        [
          /"lost":\[/,
          '"lost":[-1,',
          "line 3 must have 'effects' of whole numbers, one for each layer, up to their 'tokens'",
        ],
        [
          /,"effects":\{[^}]*\}/,
          "",
          "line 3 must have 'effects'",
        ],
      ] as const
    ) {
      const text = [options, first, second.replace(from, to), ""].join("\n");
      await Deno.writeTextFile(`${folder}/t.json.curves.jsonl`, text);
      await assertRejects(() => calibrate(optionsIn(folder)), FileError, message);
    }
  });
});

Deno.test("score() takes a plan of its own", async () => {
  const here = { device: "cpu", precision: "f32", threads: 1 } as const;
  const { input_context: context, input_query: query } = JSON.parse(INPUT[0] ?? "");
  const logprobOf = async (
    load: Parameters<typeof loadModel>[1],
    plan?: Parameters<Awaited<ReturnType<typeof loadModel>>["score"]>[2],
  ) => {
    await using model = await loadModel(MODEL, { ...here, ...load });
    return (await model.score(context, query, plan)).logprob;
  };
  const sparse = { mode: "xattn", threshold: { share: 1 } } as const;
  const own = await logprobOf({ mode: "xattn" }, { plan: sparse });
  assertEquals(own, await logprobOf(sparse));
  assert(own !== await logprobOf({ mode: "xattn" }), "the diagonal alone gives something else");
  await assertRejects(
    () => logprobOf({ mode: "xattn" }, { plan: { mode: "xattn", threshold: 2 } }),
    UsageError,
    "'threshold' must be above 0 and at most 1",
  );
});

Deno.test("calibrate says that it cannot make its temporary folder", async () => {
  await inFolder({}, async (folder) => {
    const { code, stderr } = await runScript(
      "cli.ts",
      [
        ...["calibrate", "-p", MODEL, "-l", "512", "-t", "vt", "--num_samples", "1"],
        ...["--output_path", `${folder}/shares.json`, "--device", "cpu"],
      ],
      { env: { TMPDIR: `${folder}/missing` }, permissions: ["--allow-sys", "--allow-ffi"] },
    );
    assertEquals(code, 3, stderr);
    assertMatch(
      stderr,
      /^error: Cannot make a folder in TMPDIR, or else \/tmp: No such file.*\n$/m,
    );
  });
});
