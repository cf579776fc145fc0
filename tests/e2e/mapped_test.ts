/**
 * Weights that are cut off while they are mapped: the run ends by a line that names the file.
 *
 * @module
 */
import { assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { ROOT } from "../helpers/sources.ts";

/** So much that it does not end before the file is cut off. */
const SAMPLE = {
  input_context: "The grass is green. The sky is blue. ".repeat(200),
  input_query: "What is blue?",
  outputs: [],
};

for (const processCount of [1, 2]) {
  Deno.test(`weights that are cut off end a run of ${processCount} processes with 3 and their name`, () =>
    inFolder({ "in.jsonl": `${JSON.stringify(SAMPLE)}\n`.repeat(200) }, async (folder) => {
      const model = `${folder}/model`;
      await Deno.mkdir(model);
      for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) {
        await Deno.copyFile(`${MODEL}/${name}`, `${model}/${name}`);
      }
      const run = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-q", "--no-prompt", "--no-check", "--config", `${ROOT.pathname}deno.json`],
          ...["-P=program", `${ROOT.pathname}cli.ts`, "infer", "-p", model, "-a", "star", "-bs"],
          ...["256", "-np", String(processCount), "--threads", "1", "--device", "cpu"],
          ...["--tokens_to_generate", "500", "--ignore_eos", "--input_path", `${folder}/in.jsonl`],
          ...["--output_path", `${folder}/out.jsonl`],
        ],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      let text = "";
      for await (const part of run.stderr.pipeThrough(new TextDecoderStream())) {
        const isLoaded = text.includes("Model:");
        text += part;
        if (!isLoaded && text.includes("Model:")) {
          await Deno.truncate(`${model}/model.safetensors`, 4096);
        }
      }
      const { code, signal } = await run.status;
      assertEquals([code, signal], [3, null], text);
      const errors = text.split("\n").filter((line) => line.startsWith("error: "));
      assertEquals(errors.length, 1, text);
      assertMatch(errors[0] ?? "", /^error: Cannot go on with .*\/model\.safetensors as it /);
    }));
}
