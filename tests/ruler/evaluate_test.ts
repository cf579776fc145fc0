import { runEvaluate } from "../../commands/ruler/evaluate.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { evaluateFolder, type FolderScores } from "../../ruler/evaluate.ts";
import { formatFrame } from "../../ruler/csv.ts";
import { TASK_METRICS } from "../../ruler/tasks.ts";
import { idCells } from "../../ruler/predictions.ts";
import { dumpJsonText, parseJsonText } from "../../ruler/python/json_text.ts";
import { listRepr } from "../../ruler/python/text.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { sharedFolder } from "../helpers/shared.ts";

interface EvaluateVectors {
  readonly empty_dirs: readonly string[];
  readonly input_files: Readonly<Record<string, string>>;
  readonly output_files: Readonly<Record<string, string>>;
  readonly removed_files: readonly string[];
  readonly evaluate_stdout: Readonly<Record<string, string>>;
}

const shared = sharedFolder();

async function evaluate(folder: string): Promise<{ text: string; result: FolderScores }> {
  let text = "";
  const result = await evaluateFolder(folder, { print: (part) => text += part });
  return { text, result };
}

function line(changes: Record<string, unknown> = {}): string {
  const record = {
    index: 0,
    pred: "a",
    input_context: "c ",
    input_query: "q",
    outputs: ["a"],
    others: {},
    ...changes,
  };
  return `${JSON.stringify(record)}\n`;
}

async function listFiles(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

Deno.test({
  name: "evaluateFolder() writes and prints what the original does for every vector",
  ignore: shared === undefined,
  async fn() {
    const vectors: EvaluateVectors = JSON.parse(
      await Deno.readTextFile(`${shared}/ruler/vectors/evaluate.json`),
    );
    await inFolder(vectors.input_files, async (root) => {
      for (const [name, expected] of Object.entries(vectors.evaluate_stdout)) {
        const { text } = await evaluate(`${root}/${name}`);
        const there = /results to (.*)\/[^/]+\/[^/]+\/summary/.exec(expected)?.[1] ?? "";
        assertEquals(text, expected.replaceAll(there, root));
      }
      for (const [name, text] of Object.entries(vectors.output_files)) {
        assertEquals(await Deno.readTextFile(`${root}/${name}`), text);
      }
      for (const name of vectors.removed_files) {
        await assertRejects(() => Deno.stat(`${root}/${name}`), Deno.errors.NotFound);
      }
    });
  },
});

Deno.test("evaluateFolder() returns scores and counts empty predictions", async () => {
  const files = {
    "vt.jsonl": line({ outputs: ["a", "b"] }) + line({ pred: " \u0000 ", outputs: ["a", "b"] }),
    "qa_2.jsonl": line({ outputs: ["a", "b"] }),
    "unknown.jsonl": "no JSON",
  };
  await inFolder(files, async (folder) => {
    const { result } = await evaluate(folder);
    assertEquals(result, {
      scores: [
        { task: "vt", score: 25, nullCount: 1, sampleCount: 2, values: [50, 0] },
        { task: "qa_2", score: 100, nullCount: 0, sampleCount: 1, values: [100] },
      ],
      summaryPath: `${folder}/summary.csv`,
      submissionPath: `${folder}/submission.csv`,
    });
  });
});

Deno.test("evaluateFolder() gives n/a with a reason for a task without answers", async () => {
  const files = { "cwe.jsonl": line({ outputs: [] }), "vt.jsonl": line() };
  await inFolder(files, async (folder) => {
    const { text, result } = await evaluate(folder);
    const cwe = result.scores.find(({ task }) => task === "cwe");
    assertEquals(cwe?.score, undefined);
    assertEquals(
      cwe?.reason,
      "sample 1 has no answers (with the frequencies 300 and 30 cwe needs about 15,500 tokens; " +
        "--cwe_freq 30 3 makes a usable task)",
    );
    assert(text.includes("\nTask cwe has no score: sample 1 has no answers (with"));
    const summary = await Deno.readTextFile(`${folder}/summary.csv`);
    assertEquals(summary, "0,1,2\nTasks,vt,cwe\nScore,100.0,n/a\nNulls,0/1,0/1\n");
  });
});

Deno.test("evaluateFolder() scores unlabelled and empty files 0 as the original does", async () => {
  const files = { "vt.jsonl": line({ outputs: [null] }), "fwe.jsonl": "" };
  await inFolder(files, async (folder) => {
    await evaluate(folder);
    const summary = await Deno.readTextFile(`${folder}/summary.csv`);
    assertEquals(summary, "0,1,2\nTasks,vt,fwe\nScore,0.0,0.0\nNulls,0/1,0/0\n");
  });
});

Deno.test("evaluateFolder() joins chunks in the order of their names as text", async () => {
  const chunk = (index: number) =>
    `{"index":${index},"pred":"é😀\\u007f","big":12345678901234567890,"x":1.0,"2":[],"1":{},` +
    `"outputs":["a"],"others":{}}\n`;
  const files = {
    "vt-2.jsonl": chunk(2),
    "vt-10.jsonl": chunk(10),
    "vt.jsonl": "old",
    "x-0.jsonl": "{}",
  };
  await inFolder(files, async (folder) => {
    await evaluate(folder);
    const joined = (index: number) =>
      `{"index": ${index}, "pred": "\\u00e9\\ud83d\\ude00\u007f", "big": 12345678901234567890, ` +
      `"x": 1.0, "2": [], "1": {}, "outputs": ["a"], "others": {}}\n`;
    assertEquals(await Deno.readTextFile(`${folder}/vt.jsonl`), joined(10) + joined(2));
    assertEquals(await Deno.readTextFile(`${folder}/x.jsonl`), "{}\n");
    assertEquals(await listFiles(folder), [
      "submission.csv",
      "summary-vt.csv",
      "vt.jsonl",
      "x.jsonl",
    ]);
  });
});

Deno.test("evaluateFolder() throws for a half-written line and leaves everything", async () => {
  const half = line().slice(0, 30);
  const files = {
    "fwe-0.jsonl": line(),
    "vt.jsonl": line() + half,
    "summary.csv": "old",
    "submission.csv": "old",
  };
  await inFolder(files, async (folder) => {
    await assertRejects(
      () => evaluate(folder),
      FileError,
      `Cannot read ${folder}/vt.jsonl, line 2: it is not whole (JSON `,
    );
    assertEquals(await listFiles(folder), Object.keys(files).sort());
    for (const [name, text] of Object.entries(files)) {
      assertEquals(await Deno.readTextFile(`${folder}/${name}`), text);
    }
  });
});

Deno.test("evaluateFolder() throws for a half-written chunk of an unknown task", async () => {
  await inFolder({ "vt-0.jsonl": line(), "x-0.jsonl": "{" }, async (folder) => {
    await assertRejects(
      () => evaluate(folder),
      FileError,
      `Cannot read ${folder}/x-0.jsonl, line 1`,
    );
    assertEquals(await listFiles(folder), ["vt-0.jsonl", "x-0.jsonl"]);
  });
});

Deno.test("evaluateFolder() throws if a line lacks a field", async () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ others: undefined }, "field 'others' must be an object"],
    [{ index: undefined }, "field 'index' must be there"],
    [{ pred: 3 }, "field 'pred' must be a text"],
    [{ outputs: "a" }, "field 'outputs' must be a list of texts"],
    [{ outputs: [1] }, "field 'outputs' must be a list of texts"],
  ];
  for (const [changes, message] of cases) {
    await inFolder({ "vt.jsonl": line(changes) }, async (folder) => {
      await assertRejects(
        () => evaluate(folder),
        FileError,
        `Cannot read ${folder}/vt.jsonl, line 1: ${message}`,
      );
    });
  }
});

Deno.test("evaluateFolder() throws without predictions of a task, or without the folder", async () => {
  await inFolder({ "notes.jsonl": "{}" }, async (folder) => {
    await assertRejects(
      () => evaluate(folder),
      FileError,
      `Cannot evaluate ${folder} as it must hold predictions: found no task's`,
    );
    await assertRejects(
      () => evaluate(`${folder}/none`),
      FileError,
      `Cannot read ${folder}/none: it does not exist`,
    );
  });
});

Deno.test("runEvaluate() warns that --verbose has no effect, and it has none", async () => {
  await inFolder({ "vt.jsonl": line() }, async (folder) => {
    const logged: string[] = [];
    let text = "";
    const output = {
      print: (part: string) => text += part,
      log: (line: string) => logged.push(line),
    };
    await runEvaluate(
      { dataDir: folder, benchmark: "synthetic", verbose: 2, terminalColumns: undefined },
      output,
    );
    assertEquals(logged, ["warning: --verbose has no effect, as in the original"]);
    assertEquals(text, (await evaluate(folder)).text);
  });
});

Deno.test("runEvaluate() throws for another benchmark", async () => {
  await assertRejects(
    () =>
      runEvaluate({ dataDir: "x", benchmark: "other", verbose: undefined, terminalColumns: 80 }, {
        print: () => {},
        log: () => {},
      }),
    UsageError,
    "--benchmark: must be 'synthetic': current value is 'other'",
  );
});

Deno.test("formatFrame() leaves out of the middle what the terminal has no room for", () => {
  const rows = [
    ["Tasks", ...["one", "two", "three", "four"].map((name) => `task_${name}`)],
    ["Score", "100.0", "33.33", "0.0", "n/a"],
  ];
  const whole = [
    "       0         1         2           3          4",
    "0  Tasks  task_one  task_two  task_three  task_four",
    "1  Score     100.0     33.33         0.0        n/a",
  ];
  assertEquals(formatFrame(rows, 80), whole.join("\n"));
  // A line that just fits is too long for pandas.
  assertEquals(formatFrame(rows, 52), whole.join("\n"));
  const cut = [
    "       0         1  ...           3          4",
    "0  Tasks  task_one  ...  task_three  task_four",
    "1  Score     100.0  ...         0.0        n/a",
    "",
    "[2 rows x 5 columns]",
  ];
  assertEquals(formatFrame(rows, 51), cut.join("\n"));
  assert(formatFrame(rows, 20).startsWith("       0  ...          4\n"));
});

Deno.test("evaluateFolder() prints the table of 13 tasks as pandas does without a terminal", async () => {
  const files = Object.keys(TASK_METRICS).map((task) => [`${task}.jsonl`, line()]);
  await inFolder(Object.fromEntries(files), async (folder) => {
    const table = [
      "      0              1              2   ...     11     12     13",
      "0  Tasks  niah_single_1  niah_single_2  ...    fwe   qa_1   qa_2",
      "1  Score          100.0          100.0  ...  100.0  100.0  100.0",
      "2  Nulls            0/1            0/1  ...    0/1    0/1    0/1",
      "",
      "[3 rows x 14 columns]",
    ];
    const { text } = await evaluate(folder);
    assert(text.includes(`\n\n${table.join("\n")}\n\nSaved`), text);
  });
});

Deno.test("idCells() prints a column as pandas does", () => {
  const cells = (text: string) =>
    idCells([parseJsonText(text)].flatMap((v) => Array.isArray(v) ? v : []));
  assertEquals(cells("[0, 1, 20]"), ["0", "1", "20"]);
  assertEquals(cells("[0, 1.5]"), ["0.0", "1.5"]);
  assertEquals(cells("[0, null]"), ["0.0", ""]);
  assertEquals(cells('[0, "a", true, null]'), ["0", "a", "True", ""]);
});

Deno.test("parseJsonText() and dumpJsonText() keep what Python keeps", () => {
  const cases: [string, string][] = [
    [
      '{"b":1,"a":[-0,1.0,1e5,1E-7,1e400],"b":2}',
      '{"b": 2, "a": [0, 1.0, 100000.0, 1e-07, Infinity]}',
    ],
    ["[NaN,-Infinity,null,true]", "[NaN, -Infinity, null, true]"],
    ['"\\ud800\\/\\u00e9\u2028"', '"\\ud800/\\u00e9\\u2028"'],
    [" { } ", "{}"],
    ['"a\\\\"', '"a\\\\"'],
  ];
  for (const [text, expected] of cases) assertEquals(dumpJsonText(parseJsonText(text)), expected);
});

Deno.test("parseJsonText() throws for what is not JSON", () => {
  for (
    const text of ["", "{", '{"a":1', '"a', "[1,]", "01", "{1:2}", "tru", "1 2", '"\n"', "'a'"]
  ) {
    assertThrows(() => parseJsonText(text), SyntaxError);
  }
  assertThrows(() => parseJsonText("[".repeat(5000)), SyntaxError, "JSON is nested too deeply");
});

Deno.test("listRepr() quotes as Python does", () => {
  assertEquals(
    listRepr(["a", 'b"', "c'", `d'"`, "\n\\\u0007\u00a0\u2028é\u{e0001}", null]),
    [
      `['a', 'b"', "c'", 'd\\'"', `,
      `'\\n\\\\\\x07\\xa0\\u2028é\\U000e0001', None]`,
    ].join(""),
  );
});
