/**
 * Settings by a model that is loaded once, on a GPU: the bits of models that are loaded with them, and
 * sweeps of several processes on one GPU. Ignored without a GPU.
 *
 * @module
 */
import { readUnit } from "../../commands/sweep/records.ts";
import { runSweep } from "../../commands/sweep/sweep.ts";
import type { SweepOptions } from "../../commands/sweep/options.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { checkCallPlans } from "../helpers/call_plans.ts";
import { GPU_COUNT } from "../helpers/device.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { sweepOptions } from "../helpers/sweep_run.ts";

const ignore = GPU_COUNT === 0;

Deno.test({
  name: "prompts with plans of their own give what models of these plans give on a GPU",
  ignore,
  fn: () => checkCallPlans({ device: "cuda" }),
});

/** What each setting answered to each sample. */
async function answersOf(options: SweepOptions): Promise<string[]> {
  const answers: string[] = [];
  for (const name of ["dense", "xattn_s16_t0.5", "starx_b1of4_s16_t0.5"]) {
    const unit = await readUnit(`${options.outputDir}/2048/${name}/vt.jsonl`);
    assert(unit !== undefined);
    const records = [...unit.records.values()].sort((a, b) => a.number - b.number);
    answers.push(...records.map(({ pred, score }) => `${name} ${pred} ${score}`));
  }
  return answers;
}

Deno.test({
  name: "a sweep gives the same alone, in any batch, and shared by two models on a GPU",
  ignore,
  fn: async () => {
    const run = async (options: SweepOptions) => {
      await runSweep(options, { screen: fakeScreen(), cleanup: NO_INTERRUPTS });
    };
    const grids = [{
      attn_type: ["dense", "xattn", "starx"] as const,
      block_size: ["1/4"],
      threshold: [0.5],
    }];
    const common = {
      device: "cuda",
      grids,
      tasks: ["vt"],
      lengths: [2048],
      sampleCount: 8,
    } as const;
    await inFolder({}, async (folder) => {
      const alone = sweepOptions(folder, { ...common, batchSize: 1 });
      await run(alone);
      const expected = await answersOf(alone);
      assertEquals(expected.length, 24);
      const shared = { ...alone, outputDir: `${folder}/shared`, batchSize: "auto" } as const;
      await Promise.all([run(shared), run(shared)]);
      assertEquals(await answersOf(shared), expected);
    });
  },
});
