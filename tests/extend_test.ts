/**
 * The examples of `docs/extend.md`, run as they stand there.
 *
 * @module
 */
import { readSamples } from "../commands/shared/samples.ts";
import type { Suite } from "../commands/suites/suite.ts";
import { assert, assertEquals, assertMatch } from "./helpers/assert.ts";
import { inFolder } from "./helpers/folder.ts";
import { ROOT } from "./helpers/sources.ts";

const document = await Deno.readTextFile(new URL("docs/extend.md", ROOT));

/** The block of code that begins with a name, its imports made absolute. */
function example(name: string): string {
  const [, code] = new RegExp(`\`\`\`ts\n// ${name}\n([^]*?)\`\`\``).exec(document) ?? [];
  assert(code !== undefined, `docs/extend.md must have ${name}`);
  const place = new URL(name, ROOT);
  return code.replaceAll(/(?<=from ")\.[^"]*/g, (path) => new URL(path, place).href);
}

async function deno(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT.pathname,
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

async function starx(...args: readonly string[]): Promise<{ out: string; err: string }> {
  const { code, ...texts } = await deno(["run", "-A", "--no-check", "cli.ts", ...args]);
  assertEquals(code, 0, texts.err);
  return texts;
}

/** `task`'s lines of a table in the form of CSV. */
function row(csv: string, task: string): string[] {
  return csv.split("\n").filter((line) => line.split(",")[3] === task).flatMap((line) =>
    line.split(",")
  );
}

Deno.test("the documents' examples pass the type check", async () => {
  await inFolder({
    "capitals.ts": example("capitals.ts"),
    "last_word.ts": example("commands/suites/last_word.ts"),
  }, async (folder) => {
    const files = [`${folder}/capitals.ts`, `${folder}/last_word.ts`];
    const { code, err } = await deno(["check", "--config", "deno.json", ...files]);
    assertEquals(code, 0, err);
  });
});

Deno.test("a module's task goes through prepare, ruler, evaluate, gather and report", async () => {
  // The small model knows no capitals; a task of other scores has something to add up.
  const graded = "Object.assign(tasks, { graded: { ...capitals, " +
    "score: ({ prediction }) => (prediction.length % 3) / 2 } });";
  const text = `${example("capitals.ts")}\n${graded}\n`;
  await inFolder({ "capitals.ts": text }, async (folder) => {
    const file = ["--tasks_file", `${folder}/capitals.ts`];
    await starx(
      ...["prepare", "--save_dir", `${folder}/data`, "--task", "capitals", ...file],
      ...["--tokenizer_path", "models/starx-tiny", "--max_seq_length", "512", "--num_samples", "4"],
    );
    const data = (await Deno.readTextFile(`${folder}/data/capitals/validation.jsonl`)).trim();
    const samples = data.split("\n").map((line) => JSON.parse(line));
    assertEquals(samples.map(({ outputs }) => outputs[0]), ["Paris", "Tokyo", "Nairobi", "Paris"]);
    assert(samples.every(({ length }) => length > 300 && length <= 512), data);

    const run = [
      ...["ruler", "-n", "mine", "-p", "models/starx-tiny", "-pc", "base", "-a", "dense"],
      ...[
        "-l",
        "512",
        "-t",
        "capitals",
        "graded",
        "--output_dir",
        folder,
        ...file,
        "--format",
        "csv",
      ],
    ];
    await starx(...run, "--num_samples_per_task", "2");
    // What is finished is kept, and its score is known.
    const { out } = await starx(...run, "--num_samples_per_task", "4");
    const [, , length, , count, score] = row(out, "graded");
    assertEquals([length, count], ["512", "4"]);
    const results = `${folder}/mine_dense/512`;
    const records = (await Deno.readTextFile(`${results}/graded.jsonl`)).trim().split("\n");
    const values = records.map((line) => JSON.parse(line).pred.length % 3 / 2);
    const mean = 100 * values.reduce((sum, value) => sum + value, 0) / 4;
    assertEquals([Number(score), mean > 0], [mean, true]);

    const { out: gathered } = await starx(
      "gather",
      "-e",
      `${folder}/mine_dense`,
      "--format",
      "csv",
    );
    assertEquals(row(gathered, "graded"), row(out, "graded"));
    await starx("report", `${folder}/mine_dense`, "--output_path", `${folder}/report.html`);
    assertMatch(await Deno.readTextFile(`${folder}/report.html`), /capitals/);
    const { out: evaluated } = await starx("evaluate", "--data_dir", results, ...file);
    assertMatch(evaluated, /Evaluate task capitals\.\.\./);
    const summary = await Deno.readTextFile(`${results}/summary.csv`);
    assertEquals(Number(/^Score,.*,(.*)$/m.exec(summary)?.[1]), mean);

    // Another text is another task.
    await Deno.writeTextFile(`${folder}/capitals.ts`, `${text}// changed\n`);
    for (const count of ["4", "5"]) {
      const args = ["cli.ts", ...run, "--num_samples_per_task", count];
      const again = await deno(["run", "-A", "--no-check", ...args]);
      assertEquals(again.code, 2, again.err);
      assertMatch(again.err, /^error: --tasks_file: cannot continue the results in /m);
    }
  });
});

const MODULES: readonly (readonly [code: string, line: RegExp])[] = [
  ["export const tasks = 5;", /its export 'tasks' must be an object of tasks by name: .* is 5/],
  ["throw new Error('no');", /^error: Cannot use .*tasks\.ts: no\n$/],
  ["export const tasks = { vt: {} };", /'vt' must be another name than a benchmark's task/],
  ["export const tasks = { 'a-b': {} };", /'a-b' must be a name of letters, digits and '_'/],
  ["export const tasks = { a: { tokensToGenerate: 0 } };", /'a\.tokensToGenerate' must be a whole/],
  ["export const tasks = { a: { tokensToGenerate: 1 } };", /'a\.samples' must be a function/],
  [task("x", "", ""), /'a' must have either 'score' or 'metric'/],
  [task("x", "metric: 'best'"), /'a\.metric' must be one of contains_all, .*"best"/],
  [task("x", "score: 1"), /'a\.score' must be a function: current value is .*number/],
  [task("yield { context: 'c' };"), /sample 1 of a: 'query' must be a text, not missing \(/],
  [task("yield { context: '', query: '', answers: [] };"), /: 'answers' must be texts, at least/],
  [task("null.x;"), /sample 1 of a: Cannot read properties of null .* at tasks\.ts:\d+:\d+ \(/],
  [
    task("yield { context: 'word '.repeat(maxTokens), query: '', answers: ['a'] };"),
    /sample 1 of a: it has \d+ tokens with its answer, of 600 at most \(/,
  ],
];

function task(body: string, metric = "metric: 'exact'", more = ""): string {
  return `export const tasks = { a: { tokensToGenerate: 1, *samples({ maxTokens }) { ${body} }, ` +
    `${metric}${more} } };`;
}

for (const [code, line] of MODULES) {
  Deno.test(`a module of tasks gets one line: ${code.slice(0, 90)}`, async () => {
    await inFolder({ "tasks.ts": code }, async (folder) => {
      const { code, err } = await deno([
        ...["run", "-A", "--no-check", "cli.ts", "prepare", "--save_dir", folder, "--task", "a"],
        ...["--tokenizer_path", "models/starx-tiny", "--max_seq_length", "600"],
        ...["--num_samples", "1", "--tasks_file", `${folder}/tasks.ts`],
      ]);
      assertEquals(code, 3, err);
      assertMatch(err, line);
      assertEquals(err.trim().split("\n").length, 1, err);
    });
  });
}

Deno.test("the documents' benchmark makes samples, scores them and sums them up", async () => {
  await inFolder({ "last_word.ts": example("commands/suites/last_word.ts") }, async (folder) => {
    const { LAST_WORD } = await import(`file://${folder}/last_word.ts`) as { LAST_WORD: Suite };
    const maker = await LAST_WORD.openMaker({
      countTokens: (text) => text.length / 4,
      sourceDir: undefined,
      template: { before: "[", after: "]", stopWords: ["."] },
    });
    assertEquals(maker.setup("last_word"), { tokensToGenerate: 4, stopWords: ["."] });
    const path = `${folder}/data.jsonl`;
    await maker.make({ task: "last_word", maxTokens: 1024, sampleCount: 3, path });
    const lines: string[] = [];
    for await (const { context, query, record } of readSamples(path)) {
      assertEquals(query, "The last word of the list is]");
      const word = context.trim().split(" ").at(-1) ?? "";
      const sample = { answers: [word], query };
      assertEquals(record.get("outputs"), [word]);
      assertEquals(LAST_WORD.scoreSample("last_word", { ...sample, prediction: ` ${word}` }), 1);
      assertEquals(LAST_WORD.scoreSample("last_word", { ...sample, prediction: "word" }), 0);
      const pred = lines.length === 0 ? "none" : word;
      const others = { others: {}, index: lines.length, outputs: [word] };
      lines.push(`${JSON.stringify({ pred, ...others })}\n`);
    }
    await Deno.writeTextFile(`${folder}/last_word.jsonl`, lines.join(""));
    const scores = await LAST_WORD.summarize(folder, { limit: 3, print: () => {} });
    assertEquals(scores.map(({ task, score }) => [task, score]), [["last_word", 66.67]]);
  });
});
