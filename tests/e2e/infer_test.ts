/**
 * The `infer` command on the real model reproduces the reference values of every mode.
 *
 * @module
 */
import { runInfer } from "../../commands/infer/infer.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { goldenEntries, goldenPlan } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";

/** The promise for the first logits in f32. */
const F32_LOGITS = 5e-3;
/** Modes whose greedy ids bf16 reproduces: where nothing is selected. */
const BF16_MODES = ["dense", "star"];

for (const [number, entry] of (await goldenEntries()).entries()) {
  for (const [name, golden] of Object.entries(entry.modes)) {
    const plan = goldenPlan(name, entry);
    if (plan === undefined) continue;
    const dtypes = BF16_MODES.includes(name) ? ["f32", "bf16"] as const : ["f32"] as const;
    for (const dtype of dtypes) {
      Deno.test(`runInfer() gives the reference's ids in ${dtype}: ${name}, prompt ${number}`, async () => {
        const { context, query } = entry;
        const line = JSON.stringify({ input_context: context, input_query: query, output: "" });
        await inFolder({ "in.jsonl": line }, async (folder) => {
          const outputPath = `${folder}/out.jsonl`;
          await runInfer({
            modelPath: MODEL,
            plan,
            device: "cpu",
            dtype,
            processCount: entry.ranks,
            threads: 1,
            timeoutMs: 60_000,
            inputPath: `${folder}/in.jsonl`,
            outputPath,
            sampleLimit: -1,
            tokensToGenerate: golden.greedy_ids.length,
            stopWords: [],
            topLogits: 24,
            ignoreEos: true,
          }, { screen: fakeScreen(), cleanup: NO_INTERRUPTS });
          const record = JSON.parse(await Deno.readTextFile(outputPath));
          assertEquals(record.generated_ids, golden.greedy_ids);
          assertEquals(record.pred, golden.text.trim());
          if (dtype === "f32") assertLogits(record.top_logits, golden.first_logits_top24);
        });
      });
    }
  }
}

type Logits = readonly (readonly [number, number])[];

/** The last of the reference's 24 may change places with the 25th. */
function assertLogits(found: Logits, expected: Logits): void {
  const values = new Map(found);
  for (const [id, logit] of expected.slice(0, 20)) {
    const value = values.get(id);
    assert(
      value !== undefined && Math.abs(value - logit) <= F32_LOGITS,
      `the logit of id ${id} must be ${logit} within ${F32_LOGITS}: found ${value}`,
    );
  }
}
