/**
 * The `ruler` command with newer RULER's generators.
 *
 * @module
 */
import { runRuler } from "../../commands/ruler/ruler.ts";
import type { RulerOptions } from "../../commands/ruler/options.ts";
import { UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { optionsIn } from "../helpers/ruler_run.ts";

async function run(options: RulerOptions): Promise<string> {
  const screen = fakeScreen();
  // The answers are what is asked for: nothing is found in a question.
  const models = fakeModels(({ query }) => query);
  await runRuler(options, { screen, cleanup: NO_INTERRUPTS, loadModel: models.load });
  return screen.printed.join("");
}

Deno.test("runRuler() takes newer RULER's data, cuts it before its question, and keeps to it", async () => {
  await inFolder({}, async (folder) => {
    const options = optionsIn(folder, {
      ...{ generators: "2026", lengths: [1024], sampleCount: 2, cweFrequencies: undefined },
      tasks: ["niah_single_1", "vt", "fwe"],
      sourceDir: folder,
    });
    await run(options);
    const [experiment] = [...Deno.readDirSync(`${folder}/results`)];
    const results = `${folder}/results/${experiment?.name}/1024`;
    const questions = {
      niah_single_1:
        /^What is the special magic number for \S+ mentioned in .*\? The special .* is$/,
      vt:
        /^Question: Find all variables that .* Answer: .* are assigned the value \d{5}, they are: $/,
      fwe: /^Question: Do not provide any explanation\. .* Answer: .* words are:$/,
    };
    for (const [task, question] of Object.entries(questions)) {
      const data = (await Deno.readTextFile(`${results}/data/${task}/validation.jsonl`)).trim();
      const records = (await Deno.readTextFile(`${results}/${task}.jsonl`)).trim();
      for (const [i, line] of data.split("\n").entries()) {
        const { input, answer_prefix: prefix } = JSON.parse(line);
        const { input_context: context, input_query: query } = JSON.parse(
          records.split("\n")[i] ?? "",
        );
        assertEquals(context + query, input + prefix);
        assertMatch(query.replace(/<\|.*?\|>|\n|(?<=>)assistant/g, ""), question);
      }
    }
    // The same command goes on, with more samples, too; the pinned generators' data is another one.
    await run({ ...options, sampleCount: 3 });
    const lines = (await Deno.readTextFile(`${results}/vt.jsonl`)).trim().split("\n");
    assertEquals(lines.length, 3);
    const record = JSON.parse(await Deno.readTextFile(`${results}/run.json`));
    assertEquals(record.options.generators, "2026");
    assert(!("cwe_freq" in record.data.vt));
    await assertRejects(
      () => run({ ...options, generators: "pinned" }),
      UsageError,
      "--generators: cannot continue the results in",
    );
  });
});
