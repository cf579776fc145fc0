/**
 * The `ruler` command over results of NVIDIA/Star-Attention's program, and the scripts beside its
 * own ones.
 *
 * @module
 */
import type { RulerOptions } from "../../commands/ruler/options.ts";
import { runRuler } from "../../commands/ruler/ruler.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { optionsIn } from "../helpers/ruler_run.ts";
import { ROOT } from "../helpers/sources.ts";

/** Runs `ruler` with models that answer by `answer`. @returns What it logged. */
async function run(options: RulerOptions, answer: string): Promise<string> {
  const screen = fakeScreen();
  const models = fakeModels(() => answer);
  await runRuler(options, { screen, cleanup: NO_INTERRUPTS, loadModel: models.load });
  return screen.logged.join("\n");
}

/** What `run_ruler.py` writes about its commands. */
const PREDICTIONS = "torchrun --nnodes=1 --nproc_per_node=2 run_star_attn_inference.py " +
  "--model_path /elsewhere/starx-tiny --attn_type star --block_size 256 --anchor_block_size -1 " +
  "--tokens_to_generate 30 --input_path /x/validation.jsonl --output_path /x/vt.jsonl " +
  '--stop_words "<|end_of_text|>,<|eom_id|>,<|eot_id|>"';
const DATA = "python ruler/data/prepare.py --save_dir /x --task vt --tokenizer_path /elsewhere " +
  "--tokenizer_type hf --max_seq_length 1024 --model_template_type llama3 --num_samples 2";

interface Original {
  readonly options: RulerOptions;
  /** The length's folder. */
  readonly results: string;
}

/** Results as the original leaves them: no record of the run, its own scripts. */
async function withOriginal(test: (original: Original) => Promise<void>): Promise<void> {
  await inFolder({}, async (folder) => {
    const options = optionsIn(folder, {
      ...{ tasks: ["vt"], lengths: [1024], sampleCount: 2, adopt: true },
      plan: { mode: "star", blockTokens: 256 },
    });
    await run({ ...options, adopt: false }, "theirs");
    const [experiment] = [...Deno.readDirSync(`${folder}/results`)].map(({ name }) => name);
    assertEquals(experiment, "tiny_star_b256a256");
    const results = `${folder}/results/${experiment}/1024`;
    await Deno.remove(`${results}/run.json`);
    await Deno.remove(`${results}/logs`, { recursive: true });
    await Deno.mkdir(`${results}/logs/vt`, { recursive: true });
    await Deno.writeTextFile(`${results}/logs/vt/generate_predictions.sh`, PREDICTIONS);
    await Deno.writeTextFile(`${results}/logs/vt/data_generation.sh`, DATA);
    await test({ options, results });
  });
}

async function predictions(results: string): Promise<string[]> {
  const text = (await Deno.readTextFile(`${results}/vt.jsonl`)).trim();
  return text.split("\n").map((line) => JSON.parse(line).pred);
}

Deno.test("runRuler() goes on with results of NVIDIA/Star-Attention if it is told to", async () => {
  await withOriginal(async ({ options, results }) => {
    await assertRejects(
      () => run({ ...options, adopt: false }, "ours"),
      UsageError,
      "--adopt takes those of NVIDIA/Star-Attention",
    );
    // A sample that the original was at when it ended.
    const file = await Deno.open(`${results}/vt.jsonl`, { append: true });
    await file.write(new TextEncoder().encode('{"index": 2, "pr'));
    file.close();
    const logged = await run({ ...options, sampleCount: 4 }, "ours");
    assertMatch(logged, /^vt at 1024: 2 samples are adopted$/m);
    assertEquals(await predictions(results), ["theirs", "theirs", "ours", "ours"]);
    const record = JSON.parse(await Deno.readTextFile(`${results}/run.json`));
    assertEquals(record.options.attn_type, "star");
    // From here on it is an experiment as any other.
    assertEquals(
      (await run({ ...options, adopt: false, sampleCount: 5 }, "more")).includes("adop"),
      false,
    );
    assertEquals((await predictions(results)).at(-1), "more");
  });
});

Deno.test("runRuler() makes the data of adopted results where it is gone", async () => {
  await withOriginal(async ({ options, results }) => {
    await Deno.remove(`${results}/data`, { recursive: true });
    await run({ ...options, sampleCount: 3 }, "ours");
    assertEquals(await predictions(results), ["theirs", "theirs", "ours"]);
  });
});

/** What does not agree, and the line about it. */
const REFUSED: readonly (readonly [change: Partial<RulerOptions>, script: string, line: string])[] =
  [
    [{}, PREDICTIONS.replace("--block_size 256", "--block_size 512"), "--block_size 512"],
    [{}, PREDICTIONS.replace("size -1", "size 128"), "--anchor_block_size 128"],
    [{}, PREDICTIONS.replace("type star", "type ring"), "--attn_type ring"],
    [{}, PREDICTIONS.replace("starx-tiny", "starx-large"), "--model_path starx-large"],
    [{}, PREDICTIONS.replace("generate 30", "generate 120"), "--tokens_to_generate 120"],
    [{}, PREDICTIONS.replace(",<|eom_id|>", ""), "--stop_words <|end_of_text|>,<|eot_id|>"],
    [{}, PREDICTIONS.replace("--attn_type star", ""), "made with no --attn_type"],
    [{ template: "base" }, PREDICTIONS, "--stop_words <|end_of_text|>,<|eom_id|>,<|eot_id|>"],
    [{ generators: "2026" }, PREDICTIONS, "which has no --generators 2026"],
    [{ overwrite: true }, PREDICTIONS, "take one of both"],
    [{ stopAtEos: true }, PREDICTIONS, "which has no --stop_at_eos"],
  ];

for (const [change, script, line] of REFUSED) {
  Deno.test(`runRuler() adopts no results of other settings: ${line}`, async () => {
    await withOriginal(async ({ options, results }) => {
      await Deno.writeTextFile(`${results}/logs/vt/generate_predictions.sh`, script);
      await assertRejects(() => run({ ...options, ...change }, "ours"), UsageError, line);
      assertEquals(await predictions(results), ["theirs", "theirs"]);
      assert(![...Deno.readDirSync(results)].some(({ name }) => name === "run.json"));
    });
  });
}

Deno.test("runRuler() adopts no results of other data", async () => {
  await withOriginal(async ({ options, results }) => {
    const path = `${results}/vt.jsonl`;
    const text = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, text.replace("The grass", "The gras"));
    await assertRejects(() => run(options, "ours"), FileError, "context and query of no sample");
    const data = `${results}/data/vt/validation.jsonl`;
    await Deno.writeTextFile(path, text);
    const samples = await Deno.readTextFile(data);
    await Deno.writeTextFile(data, samples.replaceAll("<|begin_of_text|>", ""));
    await assertRejects(() => run(options, "ours"), UsageError, "of another --prompt_config");
    await Deno.writeTextFile(data, samples);
    await Deno.writeTextFile(
      `${results}/logs/vt/data_generation.sh`,
      DATA.replace("length 1024", "length 2048"),
    );
    await assertRejects(() => run(options, "ours"), UsageError, "--max_seq_length 2048");
    await Deno.remove(`${results}/logs/vt/generate_predictions.sh`);
    await assertRejects(
      () => run(options, "ours"),
      FileError,
      "generate_predictions.sh is missing",
    );
  });
});

Deno.test("ruler leaves scripts that make a task's data and its predictions again", async () => {
  await inFolder({}, async (folder) => {
    const start = async (command: string, args: readonly string[]) => {
      const { code, stderr } = await new Deno.Command(command, {
        ...{ args: [...args], cwd: ROOT.pathname, env: { NO_COLOR: "1" } },
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    };
    await start(Deno.execPath(), [
      ...["run", "-A", "--no-check", "cli.ts", "ruler", "-n", "it's", "-p", "models/starx-tiny"],
      ...["-pc", "llama3", "-a", "xattn", "-l", "1024", "2048", "-t", "fwe", "vt", "--no_report"],
      ...["--num_samples", "2", "--output_dir", folder, "--threads", "1"],
    ]);
    const results = `${folder}/it's_xattn/1024`;
    const logs = `${results}/logs/vt`;
    await start("sh", [`${logs}/data_generation.sh`]);
    await start("sh", [`${logs}/generate_predictions.sh`]);
    const same = async (again: string, first: string) =>
      assertEquals(
        await Deno.readTextFile(`${logs}/${again}`),
        await Deno.readTextFile(`${results}/${first}`),
      );
    await same("data/vt/validation.jsonl", "data/vt/validation.jsonl");
    await same("predictions/it's_xattn/1024/vt.jsonl", "vt.jsonl");
    // The other task and the other length have scripts of their own.
    const made = [...Deno.readDirSync(`${logs}/predictions/it's_xattn`)].map(({ name }) => name);
    assert(!made.includes("2048"), made.join(" "));
    assertMatch(
      await Deno.readTextFile(`${folder}/it's_xattn/2048/logs/fwe/generate_predictions.sh`),
      /--tasks fwe --seq_lengths 2048 --num_samples_per_task 2 --output_dir "\$here\/predictions"\n$/,
    );
  });
});
