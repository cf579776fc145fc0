/**
 * What a continued run takes of the record of the one before: the set of a step's rows, and the one that
 * was forced.
 *
 * @module
 */
import { runInfer } from "../../commands/infer/infer.ts";
import { finishedRowsSet as finishedOutput } from "../../commands/infer/output.ts";
import type { InferOptions } from "../../commands/infer/options.ts";
import { finishedRowsSet as finishedLengths } from "../../commands/ruler/prepare_length.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { planOptions } from "../../commands/shared/run_options.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { otherSet, withIsa } from "../helpers/isa.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";

const WITH_SET = JSON.stringify({ options: { rows_set: "avx512" } });
const WITHOUT = JSON.stringify({ options: { device: "cpu" } });

Deno.test("planOptions() records the set of a step's rows only where it is another one", () => {
  const plan = checkPlan({ mode: "dense" });
  const of = (rowsSet: "own" | "avx512" | undefined) =>
    planOptions(plan, { device: "cpu", dtype: "bf16", processCount: 1, rowsSet });
  assertEquals(of("own"), of(undefined));
  assertEquals(of("avx512"), { ...of("own"), rows_set: "avx512" });
});

Deno.test("a continued ruler run takes the set of its finished samples", () =>
  inFolder({
    "4096/run.json": WITH_SET,
    "8192/run.json": WITHOUT,
    "8192/vt.jsonl": "{}\n",
    "16384/run.json": WITH_SET,
    "16384/vt.jsonl": "{}\n",
  }, async (folder) => {
    // The first one finished no sample, and binds nobody.
    assertEquals(await finishedLengths(folder, [4096]), undefined);
    assertEquals(await finishedLengths(folder, [2048]), undefined);
    assertEquals(await finishedLengths(folder, [4096, 8192]), "own");
    assertEquals(await finishedLengths(folder, [4096, 16384]), "avx512");
  }));

Deno.test("a continued infer run takes the set of its finished samples", () =>
  inFolder({
    "run.json": `{"outputs":{"a.jsonl":${WITH_SET},"b.jsonl":${WITHOUT},"c.jsonl":${WITH_SET}}}`,
    "a.jsonl": "{}\n",
    "b.jsonl": "{}\n",
    "c.jsonl": "",
  }, async (folder) => {
    const of = (name: string, overwrite = false) =>
      finishedOutput({ outputPath: `${folder}/${name}`, overwrite });
    assertEquals(await of("a.jsonl"), "avx512");
    assertEquals(await of("a.jsonl", true), undefined);
    assertEquals(await of("b.jsonl"), "own");
    assertEquals(await of("c.jsonl"), undefined);
    assertEquals(await of("d.jsonl"), undefined);
  }));

const SAMPLE = JSON.stringify({ input_context: "c", input_query: "q", outputs: ["o"] });

/** Answers up to so many samples with STARX_ISA as it says. */
async function inferWith(
  isa: string | undefined,
  run: { folder: string; sampleLimit: number },
): Promise<void> {
  const { folder, sampleLimit } = run;
  const options: InferOptions = {
    ...{ modelPath: MODEL, plan: STAR, device: "cpu", dtype: "bf16", processCount: 2, threads: 0 },
    ...{ timeoutMs: 60_000, inputPath: `${folder}/in.jsonl`, outputPath: `${folder}/out.jsonl` },
    ...{ sampleLimit, tokensToGenerate: 2, stopWords: [], topLogits: 0 },
  };
  const { load: loadModel } = fakeModels(() => "answer");
  const context = { screen: fakeScreen(), cleanup: NO_INTERRUPTS, loadModel };
  await withIsa(isa, () => runInfer(options, context));
}

Deno.test("runInfer() binds finished samples to the set that STARX_ISA forces", async () => {
  const other = await otherSet();
  for (const [first, second, was] of [[other, undefined, other], [undefined, other, "none"]]) {
    await inFolder({ "in.jsonl": `${SAMPLE}\n`.repeat(3) }, async (folder) => {
      await inferWith(first, { folder, sampleLimit: 1 });
      const error = await assertRejects(
        () => inferWith(second, { folder, sampleLimit: 3 }),
        UsageError,
        `: cannot continue the results in ${folder}/out.jsonl, which were made with `,
      );
      // Where nothing is forced another set may have been measured for rows, which differs as well.
      const values = `STARX_ISA: .* made with ${was}: current value is ${second ?? "none"} `;
      assertMatch(error.message, new RegExp(`^(${values}|STARX_ISA, rows of decode steps: )`));
      await inferWith(first, { folder, sampleLimit: 3 });
      const lines = (await Deno.readTextFile(`${folder}/out.jsonl`)).trim().split("\n");
      assertEquals(lines.length, 3);
    });
  }
});
