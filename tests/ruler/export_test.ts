/**
 * RULER as other programs import it: by itself, without a model.
 *
 * @module
 */
import { MODEL_TEMPLATES, prepareSamples, RULER_TASKS } from "../../ruler/mod.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { ROOT, sourceFiles } from "../helpers/sources.ts";

Deno.test("@starx/starx/ruler makes samples with a token counter of anybody's", async () => {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  assertEquals(exports["./ruler"], "./ruler/mod.ts");
  const [task, template] = [RULER_TASKS.vt, MODEL_TEMPLATES.base];
  assert(task !== undefined && template !== undefined);
  const samples = await Array.fromAsync(prepareSamples({
    task: "vt",
    settings: task.settings,
    template,
    maxTokens: 2000,
    sampleCount: 3,
    chunkIndex: 0,
    chunkCount: 1,
    removeNewlineTab: false,
    countTokens: (text) => text.split(/\s+/).length,
    sources: {},
  }));
  assertEquals(samples.map(({ index }) => index), [0, 1, 2]);
  for (const { context, query, answers, length } of samples) {
    assert(length <= 2000 && answers.length === 5);
    for (const answer of answers) assert(context.includes(`VAR ${answer} = `), answer);
    assert(query.startsWith("Question: Find all variables that are assigned the value"), query);
  }
});

Deno.test("@starx/starx/ruler reaches no part of the runtime", async () => {
  const files = new Map((await sourceFiles("ruler", "lib")).map((file) => [file.path, file]));
  const reached = new Set<string>();
  const visit = (path: string): void => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const other of files.get(path)?.imports ?? []) visit(other);
  };
  visit("ruler/mod.ts");
  assert(reached.size > 10);
  const rooms = [...reached].filter((path) => /^lib\/(?!deps\/)\w+\//.test(path));
  assertEquals(rooms, []);
});
