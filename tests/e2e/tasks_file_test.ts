/**
 * Tasks of one's own, from their file through data, run, table and gathering.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { runScript, type ScriptOutput } from "../helpers/script.ts";
import { sharedFolder } from "../helpers/shared.ts";
import { ROOT } from "../helpers/sources.ts";

const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;
const PERMISSIONS = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
const shared = sharedFolder();
const FILE = `# Eight needles, and two chains.
niah_8:
  task: niah
  args:
    type_haystack: repeat
    type_needle_k: words
    num_needle_k: 8
two_chains: {task: variable_tracking, args: {num_chains: 2, num_hops: 1}, tokens_to_generate: 20}
niah_8_essay:
  task: niah
  args: {type_haystack: essay, num_needle_k: 8}
`;

function starx(...args: readonly string[]): Promise<ScriptOutput> {
  return runScript("cli.ts", args, { env: {}, permissions: PERMISSIONS });
}

Deno.test("ruler runs tasks of one's own, and gather and a second run know them", async () => {
  await inFolder({ "tasks.yaml": FILE }, async (folder) => {
    const run = (...flags: readonly string[]) =>
      starx(
        ...["ruler", "-n", "own", "-p", TINY, "-pc", "llama3", "-a", "dense", "-l", "4096"],
        ...["-t", "niah_8", "two_chains", "--num_samples_per_task", "2", "--device", "cpu"],
        ...["--tasks_file", `${folder}/tasks.yaml`, "--output_dir", `${folder}/results`, ...flags],
      );
    const first = await run();
    assertEquals(first.code, 0, first.stderr);
    for (const task of ["niah_8", "two_chains"]) {
      assertMatch(first.stdout, new RegExp(`^${task} +\\d`, "m"));
    }
    const results = `${folder}/results/own_dense/4096`;
    const [line = ""] = (await Deno.readTextFile(`${results}/niah_8.jsonl`)).split("\n");
    const { input_context: context } = JSON.parse(line);
    assertEquals(context.match(/One of the special magic numbers for /g)?.length, 8);
    assertMatch(await Deno.readTextFile(`${results}/summary.csv`), /Tasks,niah_8,two_chains/);
    const gathered = await starx("gather", "-e", `${folder}/results/own_dense`);
    assertMatch(gathered.stdout, /niah_8/, gathered.stderr);
    await Deno.writeTextFile(
      `${folder}/tasks.yaml`,
      FILE.replace("num_needle_k: 8\ntwo", "num_needle_k: 7\ntwo"),
    );
    const other = await run();
    assertEquals(other.code, 2, other.stderr);
    assertMatch(other.stderr, /--tasks_file/);
  });
});

Deno.test({
  name: "prepare makes a task of one's own with essays",
  ignore: shared === undefined,
  async fn() {
    await inFolder({ "tasks.yaml": FILE }, async (folder) => {
      const prepare = (task: string) =>
        starx(
          ...["prepare", "--save_dir", folder, "--task", task, "--tokenizer_path", TINY],
          ...["--max_seq_length", "4096", "--num_samples", "2", "--source_dir"],
          ...[`${shared}/ruler/data`, "--tasks_file", `${folder}/tasks.yaml`],
        );
      const { code, stderr } = await prepare("niah_8_essay");
      assertEquals(code, 0, stderr);
      const text = await Deno.readTextFile(`${folder}/niah_8_essay/validation.jsonl`);
      for (const line of text.trim().split("\n")) {
        const { input_context: context, length } = JSON.parse(line);
        assertEquals(context.match(/One of the special magic numbers for /g)?.length, 8);
        assert(length > 3000 && length <= 4096, `${length} tokens`);
      }
      const unknown = await prepare("niah_9");
      assertEquals(unknown.code, 2);
      assertMatch(
        unknown.stderr,
        /--task: must be one of niah_single_1, .*, niah_8_essay: current/,
      );
    });
  },
});

Deno.test("the tasks' permissions suffice for files of tasks of both kinds", async () => {
  const module = "export const tasks = { mine: { tokensToGenerate: 4, metric: 'exact', " +
    "*samples() { yield { context: 'a', query: 'b', answers: ['c'] }; } } };";
  await inFolder({ "tasks.yaml": FILE, "tasks.ts": module }, async (folder) => {
    const cases = [["two_chains", "tasks.yaml"], ["mine", "tasks.ts"]] as const;
    for (const [task, file] of cases) {
      const own = ["--tasks_file", `${folder}/${file}`];
      const commands = [
        [
          ...["prepare", "--save_dir", folder, "--task", task, "--tokenizer_path", TINY],
          ...["--max_seq_length", "1024", "--num_samples", "1"],
        ],
        [
          ...[
            "ruler",
            "-n",
            "x",
            "-p",
            TINY,
            "-pc",
            "base",
            "-a",
            "dense",
            "-l",
            "1024",
            "-t",
            task,
          ],
          ...["--num_samples", "1", "--output_dir", folder, "--no_report", "--device", "cpu"],
        ],
        ["evaluate", "--data_dir", `${folder}/x_dense/1024`],
      ];
      for (const command of commands) {
        const { code, stderr } = await new Deno.Command(Deno.execPath(), {
          args: ["task", "-q", ...command, ...own],
          cwd: ROOT.pathname,
        }).output();
        assertEquals(code, 0, new TextDecoder().decode(stderr));
      }
    }
  });
});
