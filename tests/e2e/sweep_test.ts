/**
 * The `sweep` command on the model of the repository: the answers of `ruler`, the tables of
 * `calibrate`, and processes that are killed.
 *
 * @module
 */
import { runCalibrate } from "../../commands/calibrate/calibrate.ts";
import { COMPARED } from "../../commands/calibrate/thresholds.ts";
import { thresholdOf } from "../../commands/shared/threshold_flag.ts";
import { ruleOf, TILE_RULES } from "../../lib/attention/thresholds.ts";
import { runRuler } from "../../commands/ruler/ruler.ts";
import { readUnit } from "../../commands/sweep/records.ts";
import { runSweep } from "../../commands/sweep/sweep.ts";
import type { SweepOptions } from "../../commands/sweep/options.ts";
import { UsageError } from "../../lib/errors.ts";
import { readJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { optionsIn } from "../helpers/ruler_run.ts";
import { denoFolder } from "../helpers/script.ts";
import { ROOT } from "../helpers/sources.ts";
import { csvWithoutTimes, sweepOptions } from "../helpers/sweep_run.ts";

const HERE = { tasks: ["vt"], lengths: [1024], sampleCount: 2 } as const;

async function run(options: SweepOptions): Promise<void> {
  await runSweep(options, { screen: fakeScreen(), cleanup: NO_INTERRUPTS });
}

/** What a setting answered, by sample. */
async function answersIn(path: string): Promise<string[]> {
  const unit = await readUnit(path);
  assert(unit !== undefined, `${path} must be there`);
  const records = [...unit.records.values()].sort((a, b) => a.number - b.number);
  return records.map(({ pred }) => pred);
}

Deno.test("runSweep() gives the answers that runRuler() gives for each setting", async () => {
  await inFolder({}, async (folder) => {
    const grids = [{
      attn_type: ["dense", "xattn", "starx"] as const,
      block_size: ["1/4"],
      threshold: [0.5],
    }];
    await run(sweepOptions(folder, { ...HERE, grids, batchSize: 2 }));
    const plans = {
      dense: { mode: "dense" },
      "xattn_s16_t0.5": { mode: "xattn", threshold: 0.5 },
      "starx_b1of4_s16_t0.5": { mode: "starx", blockTokens: 256, threshold: 0.5 },
    } as const;
    for (const [name, plan] of Object.entries(plans)) {
      const options = optionsIn(folder, { ...HERE, plan, processCount: 1, device: "cpu" });
      const { outputDir, modelName } = options;
      await runRuler(options, { screen: fakeScreen(), cleanup: NO_INTERRUPTS });
      const blocks = plan.mode === "starx" ? "_b256a256" : "";
      const path = `${outputDir}/${modelName}_${plan.mode}${blocks}/1024/vt.jsonl`;
      const expected = await Array.fromAsync(
        readJsonLines(path),
        ({ value }) => isJsonObject(value) ? value.pred : undefined,
      );
      assertEquals(await answersIn(`${folder}/sweep/1024/${name}/vt.jsonl`), expected, name);
    }
  });
});

for (const rule of TILE_RULES) {
  Deno.test(`runSweep() chooses for a density the ${rule}s that runCalibrate() writes`, async () => {
    const text = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(40);
    const line = JSON.stringify({ input_context: text, input_query: "The sky is", outputs: [] });
    await inFolder({ "in.jsonl": `${line}\n` }, async (folder) => {
      await runCalibrate({
        modelPath: MODEL,
        outputPath: `${folder}/xattn-1024.json`,
        inputPath: `${folder}/in.jsonl`,
        ...{ template: "base", tasks: [], lengths: [], sampleCount: -1, sourceDir: undefined },
        plan: { mode: "xattn", threshold: COMPARED[rule] },
        rule,
        goal: { kind: "density", density: 0.3 },
        ...{ device: "cpu", dtype: "bf16", processCount: 1, threads: 1, timeoutMs: 60_000 },
      }, { screen: fakeScreen(), cleanup: NO_INTERRUPTS });
      const grids = [{
        attn_type: ["xattn"] as const,
        threshold: [`${folder}/{mode}-{length}.json`],
        density: [0.3],
      }];
      const curvesPath = `${folder}/{mode}-{length}.json.curves.jsonl`;
      await run(sweepOptions(folder, { ...HERE, grids, curvesPath }));
      const paths = ["xattn_s16_t-mode-length", "xattn_s16_d0.3"].map((name) =>
        `${folder}/sweep/1024/${name}/vt.jsonl`
      );
      const [file, chosen] = await Promise.all(paths.map(readUnit));
      assertStringIncludes(String(file?.header.options.threshold), "sha256:");
      assertEquals(chosen?.header.options, file?.header.options);
      const shares = [file, chosen].map((unit) => [...unit?.records.values() ?? []][0]?.share);
      assert(shares[0] !== undefined && shares[0] < 0.6, `${shares}`);
      assertEquals(shares[1], shares[0]);
      const read = thresholdOf(`${folder}/xattn-1024.json`);
      assertEquals(ruleOf(read), rule);
      const curves = `${folder}/xattn-1024.json.curves.jsonl`;
      const measured = await Deno.readTextFile(curves);
      await Deno.writeTextFile(curves, measured.replace(/[0-9a-f]{64}/, "0".repeat(64)));
      await assertRejects(
        () => run(sweepOptions(folder, { ...HERE, grids, curvesPath })),
        UsageError,
        `Cannot use ${curves} as "--model_path" must be of the model in ${MODEL}, whose SHA-256 is `,
      );
    });
  });
}

const ARGS = ["--attn_type=xattn", "--threshold=0.5", "0.9", "--num_samples_per_task=3"];

/** Starts the program on a sweep. */
function start(folder: string): Deno.ChildProcess {
  const cli = new URL("cli.ts", ROOT).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "--no-prompt", "--no-check", "-A", cli, "sweep", "-p", MODEL, "-o", folder],
      ...["-pc", "llama3", "-l", "1024", "-t", "vt", "niah_single_1", "--device=cpu"],
      ...["--threads=1", "--batch_size=1", "--no_report", ...ARGS],
    ],
    env: { DENO_DIR: denoFolder(), NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("sweep goes on in two processes after one was killed, and doubles nothing", async () => {
  await inFolder({}, async (folder) => {
    const grids = [{ attn_type: ["xattn"] as const, threshold: [0.5, 0.9] }];
    const sizes = { tasks: ["vt", "niah_single_1"], lengths: [1024], sampleCount: 3 };
    await run(sweepOptions(folder, { ...sizes, grids }));
    const expected = await csvWithoutTimes(`${folder}/sweep/sweep.csv`);
    const other = `${folder}/other`;
    const killed = start(other);
    const output = killed.output();
    const records = async (): Promise<number> => {
      let count = 0;
      for (const name of ["xattn_s16_t0.5", "xattn_s16_t0.9"]) {
        for (const task of sizes.tasks) {
          const unit = await readUnit(`${other}/1024/${name}/${task}.jsonl`);
          count += unit?.records.size ?? 0;
        }
      }
      return count;
    };
    while (await records() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    killed.kill("SIGKILL");
    await output;
    const before = await records();
    assert(before >= 2 && before < 12, `${before}`);
    const ended = await Promise.all([start(other), start(other)].map((one) => one.output()));
    for (const { code, stderr } of ended) assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertEquals(await records(), 12);
    assertEquals(await csvWithoutTimes(`${other}/sweep.csv`), expected);
  });
});
