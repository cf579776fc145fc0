/**
 * BABILong's prompts, metric, data and tables, against what the original's Python gave for the same
 * rows: `babilong/*.py` of NVIDIA/Star-Attention at c61059f, with a stand-in for `datasets`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import {
  BABILONG_TASKS,
  datasetOf,
  formatLine,
  formatPrompt,
  gatherBabilong,
  heatMap,
  isRight,
  PROMPTS,
  questionOf,
  readRows,
  SPLITS,
  TASK_LABELS,
  taskFiles,
} from "../../babilong/mod.ts";
import { FileError } from "../../lib/errors.ts";
import { MODEL_TEMPLATES } from "../../ruler/templates.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { parquetOf } from "../helpers/parquet.ts";

interface Golden {
  readonly rows: Readonly<Record<string, readonly Row[]>>;
  /** SHA-256 of a task's file, by `template task`. */
  readonly hashes: Readonly<Record<string, string>>;
  readonly metric: readonly (readonly [
    task: string,
    target: string,
    output: string,
    question: string,
    isRight: boolean,
  ])[];
}

interface Row extends Record<string, string> {
  readonly input: string;
  readonly question: string;
  readonly target: string;
}

const golden: Golden = JSON.parse(
  await Deno.readTextFile(new URL("../golden/babilong.json", import.meta.url)),
);

Deno.test("formatPrompt() gives the original's bytes for every task and template", () => {
  let compared = 0;
  for (const [name, expected] of Object.entries(golden.hashes)) {
    const [template = "", task = ""] = name.split(" ");
    const around = MODEL_TEMPLATES[template];
    const prompt = PROMPTS[task];
    assert(around !== undefined && prompt !== undefined, name);
    const hash = createHash("sha256");
    for (const [index, row] of (golden.rows[task] ?? []).entries()) {
      const { context, query } = formatPrompt(row, { prompt, around });
      hash.update(formatLine({ index, context, query, answers: [row.target] }));
    }
    assertEquals(hash.digest("hex"), expected, name);
    compared++;
  }
  assertEquals(compared, 40);
});

Deno.test("isRight() judges as the original does", () => {
  assertEquals(golden.metric.length, 800);
  for (const [task, target, output, question, expected] of golden.metric) {
    const found = isRight(task, { target, output, question });
    assertEquals(found, expected, JSON.stringify([task, target, output, question]));
  }
  // Letters are made small before the text is cut at "Question", so that it is not cut.
  const answer = { target: "garden", output: "garden Question kitchen", question: "" };
  assertEquals(isRight("qa1", answer), false);
  assertEquals(
    questionOf("Question: Where?<|eot_id|><|start_header_id|>assistant<|end_header_id|>"),
    "Question: Where?",
  );
});

Deno.test("tasks have labels and prompts, and splits a data set", () => {
  assertEquals(BABILONG_TASKS, Array.from({ length: 20 }, (_, i) => `qa${i + 1}`));
  assertEquals(Object.keys(PROMPTS).sort(), Object.keys(TASK_LABELS).sort());
  const sets = [...SPLITS.values()].map((split) => [split, datasetOf(split)]);
  assertEquals(new Set(sets.map(([, set]) => set)).size, 2);
  assertEquals(datasetOf("32k"), "RMT-team/babilong-1k-samples");
  for (const split of ["64k", "128k", "1M", "10M"]) {
    assertEquals(datasetOf(split), "RMT-team/babilong");
  }
});

Deno.test("readRows() reads the rows of a task's files in their order", async () => {
  const rows = Array.from({ length: 57 }, (_, i): Row => ({
    input: `text ${i} caf\u00e9 \u{1f600}`.repeat(1 + i % 3),
    question: `q${i}`,
    target: "garden",
  }));
  await inFolder({}, async (folder) => {
    const task = `${folder}/babilong/16k/qa1`;
    await Deno.mkdir(task, { recursive: true });
    await Deno.writeFile(`${task}/0000.parquet`, parquetOf(rows.slice(0, 50), { groupRows: 23 }));
    await Deno.writeFile(`${task}/0001.parquet`, parquetOf(rows.slice(50), { groupRows: 100 }));
    const files = await taskFiles(folder, { split: "16k", task: "qa1" });
    assertEquals((await Array.fromAsync(readRows(files))).map((row) => ({ ...row })), rows);
    assertEquals(await taskFiles(folder, { split: "16k", task: "qa2" }), []);
    await Deno.writeFile(`${task}/0001.parquet`, new Uint8Array(100));
    await assertRejects(
      () => Array.fromAsync(readRows(files)),
      FileError,
      `Cannot read ${task}/0001.parquet: `,
    );
    await Deno.writeFile(`${task}/0001.parquet`, parquetOf([{ input: "x" }], { groupRows: 1 }));
    await assertRejects(() => Array.fromAsync(readRows(files)), FileError, "0001.parquet");
  });
});

function record(pred: string, target: string): string {
  return `${
    JSON.stringify({ index: 0, pred, input_query: "Question: Where?", outputs: [target] })
  }\n`;
}

Deno.test("gatherBabilong() prints as the original, under either name of a split", async () => {
  const files = {
    "16k/qa1.jsonl": record("In the garden.", "garden").repeat(2) + record("kitchen", "garden"),
    "16k/qa2.jsonl": "",
    "32768/qa1.jsonl": record("In the garden.", "garden").repeat(999),
  };
  await inFolder(files, async (folder) => {
    const options = { tasks: ["qa1", "qa2"], splits: ["16k", "32k", "64k"] };
    const { text, accuracy } = await gatherBabilong(folder, options);
    assertEquals(
      text,
      "16k,66,-1\n32k,100,-1\n64k,-1,-1\n\nMissing Experiments:\nqa2: 32k\n\n" +
        "Incomplete Experiments:\nqa1: 16k\nqa2: 16k\n",
    );
    assertEquals(accuracy.map((scores) => scores.map(Math.trunc)), [[66, 100, -1], [-1, -1, -1]]);
    const map = heatMap(accuracy, { ...options, title: "a <b>" });
    assertMatch(map, /^<svg [^>]*>\n[\s\S]*a &lt;b&gt;[\s\S]*<\/svg>\n$/);
    assertEquals(map.match(/fill="rgb\(0,128,0\)"/g)?.length, 1);
    assertEquals(map.match(/fill="#ddd"/g)?.length, 4);
  });
});
