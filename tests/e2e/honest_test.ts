/**
 * What runs promise, on the real generators and the real model: more samples later, numbers that are
 * the user's, refusals before memory is gone, and scores that survive an interruption.
 *
 * @module
 */
import { hostMemory } from "../../lib/device/host_memory.ts";
import { runRuler } from "../../commands/ruler/ruler.ts";
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { runAlone } from "../helpers/nodes.ts";
import { MODEL } from "../helpers/prompts.ts";
import { optionsIn } from "../helpers/ruler_run.ts";

const CONTEXT = { screen: fakeScreen(), cleanup: NO_INTERRUPTS };

/** All files of a folder of results that say what was asked and answered. */
async function resultFiles(root: string, tasks: readonly string[]): Promise<string[]> {
  const names = [
    ...tasks.flatMap((task) => [`${task}.jsonl`, `data/${task}/validation.jsonl`]),
    ...["summary.csv", "submission.csv"],
  ];
  return await Promise.all(names.map((name) => Deno.readTextFile(`${root}/${name}`)));
}

Deno.test("2 samples and then 6 are the bytes of 6 at once", async () => {
  await inFolder({}, async (folder) => {
    const tasks = ["niah_single_1", "niah_multikey_3", "vt", "fwe"];
    const run = async (outputDir: string, sampleCount: number, batchSize: number | "auto") => {
      const changes = { outputDir, sampleCount, batchSize, tasks, lengths: [1024] };
      const place = { device: "cpu", threads: 1, processCount: 1 } as const;
      await runRuler(optionsIn(folder, { ...changes, ...place }), CONTEXT);
      return await resultFiles(`${outputDir}/tiny_starx_b256a256/1024`, tasks);
    };
    const two = await run(`${folder}/grown`, 2, "auto");
    const grown = await run(`${folder}/grown`, 6, "auto");
    assertEquals(grown, await run(`${folder}/whole`, 6, 1));
    assert(grown[0]?.startsWith(two[0] ?? "none"));
    const events = await Deno.readTextFile(`${folder}/grown/tiny_starx_b256a256/events.jsonl`);
    assertEquals(events.trim().split("\n").length, tasks.length * 6);
  });
});

const RULER = ["ruler", "-n", "x", "-p", MODEL, "-pc", "llama3", "-a", "dense", "--device", "cpu"];

Deno.test("what is refused is said with the user's numbers", async () => {
  await inFolder({}, async (folder) => {
    const place = ["--output_dir", `${folder}/out`];
    for (
      const [args, message] of [
        [["-l", "16k", "32k"], /at most the model's 16384 positions .*current value is 32768/],
        [["-l", "64"], /\b64\b/],
        [["-l", "2k", "-a", "star", "-np", "1", "-bs", "4k"], /current value is 2048/],
      ] as const
    ) {
      const { code, stderr, stdout } = await runAlone([...RULER, ...place, ...args]);
      assert(code === 2 || code === 3, `${code}: ${stderr}`);
      assertMatch(stderr, message);
      assert(!/16383|32767|2047\b| \+ -1/.test(stderr + stdout), stderr);
    }
  });
});

Deno.test({
  name: "a run that this machine's memory does not hold is refused on a CPU, with what would fit",
  // The longest answer that a configuration allows takes some 800 GB.
  ignore: (hostMemory()?.availableBytes ?? Infinity) > 2 ** 38,
  fn: async () => {
    const config = JSON.parse(await Deno.readTextFile(`${MODEL}/config.json`));
    const long = { ...config, max_position_embeddings: 2 ** 27 };
    const text = "The grass is green. ".repeat(200);
    const files = {
      "model/config.json": JSON.stringify(long),
      "in.jsonl": JSON.stringify({ input_context: text, input_query: "q" }),
    };
    await inFolder(files, async (folder) => {
      for (const name of ["tokenizer.json", "model.safetensors"]) {
        await Deno.symlink(`${MODEL}/${name}`, `${folder}/model/${name}`);
      }
      const tokens = ["--tokens_to_generate", String(2 ** 27 - 4096), "--dtype", "f32"];
      const paths = ["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`];
      const model = ["-p", `${folder}/model`, "-a", "dense", "--device", "cpu"];
      const { code, stderr } = await runAlone(["infer", ...model, ...tokens, ...paths]);
      assertEquals(code, 4, stderr);
      assertMatch(stderr, /error: Cannot run \d+ tokens on the CPU as .* GiB .*must be free/);
      assertMatch(stderr, /current value is \d+\.\d\d GiB; /);
    });
  },
});

Deno.test("scores survive an interruption", async () => {
  await inFolder({}, async (folder) => {
    const cli = new URL("../../cli.ts", import.meta.url).pathname;
    const tasks = ["-t", "niah_single_1", "vt", "--num_samples_per_task", "400", "-l", "1024"];
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", cli, ...RULER, ...tasks, "--output_dir", folder, "-b", "1"],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    const events = `${folder}/x_dense/events.jsonl`;
    // Three samples are finished, most are not.
    const count = async () =>
      (await Deno.readTextFile(events).catch(() => "")).split("\n").length - 1;
    while (await count() < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGINT");
    const { code, stdout, stderr } = await output;
    const text = new TextDecoder().decode(stdout);
    assertEquals(code, 130, new TextDecoder().decode(stderr));
    assertMatch(text, /niah_single_1 at 1024: \d+ of 400 samples\n/);
    assertMatch(text, /^niah_single_1 +\d+\.\d ± \d+\.\d/m);
  });
});
