import { runInfer } from "../../commands/infer/infer.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertRejects } from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL, STAR } from "../helpers/prompts.ts";

const INPUT = `${JSON.stringify({ input_context: "c", input_query: "q", output: "o" })}\n`;

Deno.test("runInfer() does not go on with other end tokens", async () => {
  await inFolder({ "in.jsonl": INPUT, "m/generation_config.json": "{}" }, async (folder) => {
    const modelPath = `${folder}/m`;
    const outputPath = `${folder}/pred.jsonl`;
    for (const { name } of Deno.readDirSync(MODEL)) {
      if (name === "generation_config.json" || name === "shares") continue;
      await Deno.symlink(`${MODEL}/${name}`, `${modelPath}/${name}`);
    }
    const run = async (changes: { ignoreEos?: boolean; overwrite?: boolean } = {}) => {
      const loadModel = fakeModels(() => "answer").load;
      await runInfer({
        ...{ modelPath, plan: STAR, device: "cpu", dtype: "bf16", processCount: 1, threads: 1 },
        ...{ timeoutMs: 60_000, inputPath: `${folder}/in.jsonl`, outputPath, sampleLimit: -1 },
        ...{ tokensToGenerate: 2, stopWords: [], topLogits: 0, ...changes },
      }, { screen: fakeScreen(), cleanup: NO_INTERRUPTS, loadModel });
    };
    await run();
    await Deno.writeTextFile(`${modelPath}/generation_config.json`, '{"eos_token_id": [4090]}');
    const message = "eos_token_id of config.json and generation_config.json: cannot continue the " +
      `results in ${outputPath}, which were made with 4093: current value is 4093 4090`;
    await assertRejects(() => run(), UsageError, message);
    await run({ ignoreEos: true, overwrite: true });
  });
});
