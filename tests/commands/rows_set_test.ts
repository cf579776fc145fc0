/**
 * What a continued run takes of the record of the one before: the set of a step's rows.
 *
 * @module
 */
import { finishedRowsSet as finishedOutput } from "../../commands/infer/output.ts";
import { finishedRowsSet as finishedLengths } from "../../commands/ruler/prepare_length.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { planOptions } from "../../commands/shared/run_options.ts";
import { assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

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
