/**
 * RULER from the data to the table, with models of other families and their published tokenizers:
 * prompts and answers go through the tokenizer, blocks and selection through the family's layers.
 *
 * @module
 */
import { makeModel } from "../../scripts/make_model.ts";
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { writeRealTokenizer } from "../helpers/real_tokenizers.ts";
import { runScript } from "../helpers/script.ts";

const SIZES = {
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 8192,
};
/** Proportions of the published ones, and the vocabularies of their tokenizers. */
const MODELS = {
  "Qwen 2.5": {
    template: "qwen",
    config: {
      ...SIZES,
      architectures: ["Qwen2ForCausalLM"],
      vocab_size: 151_936,
      rms_norm_eps: 1e-6,
      rope_theta: 1_000_000,
      tie_word_embeddings: false,
      use_sliding_window: false,
      max_window_layers: 2,
      sliding_window: 4096,
    },
  },
  "Mistral 7B": {
    template: "mistral",
    config: {
      ...SIZES,
      architectures: ["MistralForCausalLM"],
      vocab_size: 32_000,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      sliding_window: 512,
    },
  },
} as const;
const TASKS = ["niah_single_1", "vt", "fwe"];
const LENGTH = 2048;
const MODES: readonly (readonly [string, readonly string[]])[] = [
  ["dense", []],
  ["starx", ["-bs", "512", "-as", "256", "-np", "2"]],
];
const PERMISSIONS = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];

for (const [name, { template, config }] of Object.entries(MODELS)) {
  Deno.test(`ruler runs a model of ${name}'s form with its tokenizer`, async (t) => {
    await inFolder({}, async (folder) => {
      await makeModel(`${folder}/model`, { config, dtype: "bf16", shards: 1, seed: 2 });
      const isThere = await writeRealTokenizer(name, `${folder}/model`);
      for (const [mode, flags] of MODES) {
        await t.step({
          name: mode,
          // The package with this tokenizer may be out of reach.
          ignore: !isThere,
          fn: () => checkRun(folder, { template, mode, flags }),
        });
      }
    });
  });
}

async function checkRun(
  folder: string,
  run: { template: string; mode: string; flags: readonly string[] },
): Promise<void> {
  const { template, mode, flags } = run;
  const { code, stdout, stderr } = await runScript("cli.ts", [
    ...["ruler", "-n", "own", "-p", `${folder}/model`, "-pc", template, "-a", mode, ...flags],
    ...["-l", String(LENGTH), "-t", ...TASKS, "--num_samples_per_task", "1", "--device", "cpu"],
    ...["--no_report", "--output_dir", `${folder}/results`],
  ], { env: {}, permissions: PERMISSIONS });
  assertEquals(code, 0, stderr);
  const [experiment = ""] = (await Array.fromAsync(Deno.readDir(`${folder}/results`)))
    .map((entry) => entry.name).filter((entry) => entry.startsWith(`own_${mode}`));
  for (const task of TASKS) {
    assertMatch(stdout, new RegExp(`^${task} +\\d`, "m"));
    const path = `${folder}/results/${experiment}/${LENGTH}/${task}.jsonl`;
    const records = (await Deno.readTextFile(path)).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    assertEquals(records.length, 1);
    const [{ pred, length, input_query: query }] = records;
    assert(typeof pred === "string" && pred !== "", `${task} has an answer`);
    // As in the original, a sample of fwe may be some words longer than asked for.
    const most = task === "fwe" ? 1.1 * LENGTH : LENGTH;
    assert(length > LENGTH / 2 && length <= most, `${task} has ${length} tokens`);
    const end = template === "qwen" ? "<|im_start|>assistant\n" : "[/INST]";
    assert(query.includes(end), query);
  }
}
