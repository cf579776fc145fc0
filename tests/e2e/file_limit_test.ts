/**
 * A limit of a file's size (`ulimit -f`): the signal that comes with a write beyond it does not end
 * the program, which says what it cannot write; the same command does it without the limit.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { ROOT } from "../helpers/sources.ts";

const hasPrlimit = await new Deno.Command("prlimit", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);

/** Runs the program as `cli.ts` does, in a process whose files are limited from then on. */
const LIMITED = `
import { COMMANDS } from "${new URL("commands/all.ts", ROOT)}";
import { runProgram } from "${new URL("commands/shared/program.ts", ROOT)}";
import { openScreen } from "${new URL("commands/shared/screen.ts", ROOT)}";
const [bytes, ...args] = Deno.args;
const limit = ["--pid", String(Deno.pid), "--fsize=" + bytes];
const { success } = await new Deno.Command("prlimit", { args: limit }).output();
if (!success) throw new Error("prlimit");
Deno.exit(await runProgram(COMMANDS, args, { screen: openScreen() }));
`;

async function limited(
  bytes: number,
  options: { folder: string; args: readonly string[] },
): Promise<{ code: number; signal: Deno.Signal | null; stderr: string }> {
  const { folder, args } = options;
  const { code, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--no-code-cache", "limited.ts", String(bytes), ...args],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  return { code, signal, stderr: new TextDecoder().decode(stderr) };
}

Deno.test({
  name: "prepare names the file that may not grow further, and makes it without the limit",
  ignore: !hasPrlimit,
  fn: () =>
    inFolder({ "limited.ts": LIMITED }, async (folder) => {
      const args = [
        ...["prepare", "--save_dir", "data", "--task", "vt", "--tokenizer_type", "hf"],
        ...["--tokenizer_path", MODEL, "--model_template_type", "base"],
        ...["--max_seq_length", "1024", "--num_samples", "20"],
      ];
      // Once without the limit, so that Deno's own caches have nothing to write with it.
      const before = await limited(2 ** 30, { folder, args: [...args, "--save_dir", "before"] });
      assertEquals(before.code, 0, before.stderr);
      const end = await limited(20_000, { folder, args });
      assertEquals([end.code, end.signal], [3, null], end.stderr);
      assertMatch(end.stderr, /^error: Cannot write data\/vt\/validation\.jsonl: File too large/m);
      const { code, stderr } = await limited(2 ** 30, { folder, args });
      assertEquals(code, 0, stderr);
      const text = await Deno.readTextFile(`${folder}/data/vt/validation.jsonl`);
      assertEquals(text.trimEnd().split("\n").length, 20);
    }),
});

Deno.test({
  name: "a rank that may not write so large a file says so, and is not lost",
  ignore: !hasPrlimit,
  fn: () =>
    inFolder({ "limited.ts": LIMITED }, async (folder) => {
      await Deno.mkdir(`${folder}/model`);
      for (const { name, isFile } of Deno.readDirSync(MODEL)) {
        if (isFile) await Deno.copyFile(`${MODEL}/${name}`, `${folder}/model/${name}`);
      }
      const sample = { index: 0, input_context: "The sky is blue. ".repeat(40), input_query: "It" };
      await Deno.writeTextFile(`${folder}/in.jsonl`, JSON.stringify({ ...sample, outputs: ["x"] }));
      const args = [
        ...["infer", "-p", "model", "-a", "star", "-bs", "64", "-np", "2", "--threads", "1"],
        ...["--tokens_to_generate", "2", "--device", "cpu", "--input_path", "in.jsonl"],
        ...["--output_path", "out.jsonl", "--weights", "int8", "--keep_weights"],
      ];
      const end = await limited(3_000_000, { folder, args });
      assertEquals([end.code, end.signal], [3, null], end.stderr);
      const line = "error: Cannot write model/weights.int8.starx: File too large (os error 27)";
      assert(end.stderr.split("\n").includes(line), end.stderr);
      // Nothing of it is left, and the same command does it where there is room.
      const left = [...Deno.readDirSync(`${folder}/model`)].map(({ name }) => name);
      assert(!left.some((name) => name.includes("starx")), left.join());
      const { code, stderr } = await limited(2 ** 34, { folder, args });
      assertEquals(code, 0, stderr);
      assert((await Deno.stat(`${folder}/model/weights.int8.starx`)).isFile);
    }),
});
