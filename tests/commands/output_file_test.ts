/**
 * Results must not replace what is not a result: one line on standard error, before anything is
 * computed, and the file as it was.
 *
 * @module
 */
import { checkOutputFile } from "../../commands/shared/output_file.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { runScript } from "../helpers/script.ts";

const KIND = { kind: "a table", isOwn: (begin: string) => begin.startsWith("table") };

Deno.test("checkOutputFile() takes a new file and an earlier result, and nothing else", async () => {
  const files = {
    "table.csv": "table 1",
    "empty.csv": "",
    "text.txt": "text",
    "model/config.json": "{}",
  };
  await inFolder({ ...files, "model/table.csv": "table 2" }, async (folder) => {
    const inputs = { "--input_path": `${folder}/text.txt`, "--model_path": `${folder}/model` };
    const check = (name: string) => checkOutputFile(`${folder}/${name}`, { ...KIND, inputs });
    for (
      const name of ["table.csv", "empty.csv", "new.csv", "no/such/folder.csv", "model/table.csv"]
    ) {
      await check(name);
    }
    await Deno.symlink(`${folder}/text.txt`, `${folder}/link`);
    for (
      const [name, message] of [
        ["text.txt", "must not be a file of --input_path, which it would replace"],
        ["link", "must not be a file of --input_path, which it would replace"],
        ["model/config.json", "must not be a file of --model_path, which it would replace"],
        ["model", "must not be a file of --model_path, which it would replace"],
      ] as const
    ) {
      await assertRejects(() => check(name), UsageError, `--output_path: ${message}`);
    }
    const message = "--output_path: must be a table, or no file that is there: current value is ";
    const alone = () => checkOutputFile(`${folder}/text.txt`, KIND);
    await assertRejects(alone, UsageError, `${message}${folder}/text.txt`);
    const it = () => checkOutputFile(folder, KIND);
    await assertRejects(
      it,
      UsageError,
      `--output_path: must be a file: current value is ${folder}`,
    );
  });
});

Deno.test("calibrate, perplexity and report leave a file that they did not make", async () => {
  const text = `${JSON.stringify({ index: 0, input_context: "a", input_query: "b" })}\n`;
  const device = ["-p", MODEL, "--device", "cpu", "--threads", "1"];
  await inFolder({ "in.jsonl": text }, async (folder) => {
    const path = `${folder}/in.jsonl`;
    for (
      const args of [
        ["calibrate", ...device, "--input_path", path, "--density", "0.3", "--num_samples", "1"],
        ["perplexity", ...device, "--input_path", path, "-l", "512"],
        ["report", folder],
      ]
    ) {
      const { code, stdout, stderr } = await runScript(
        "cli.ts",
        [...args, "--output_path", path],
        { env: {}, permissions: ["--allow-sys", "--allow-ffi"] },
      );
      const what = args[0] === "report"
        ? "must be a page in HTML, or no file that is there"
        : "must not be a file of --input_path, which it would replace";
      assertEquals([code, stdout, stderr], [
        2,
        "",
        `error: --output_path: ${what}: current value is ${path}\n`,
      ]);
      assertEquals(await Deno.readTextFile(path), text);
    }
  });
});
