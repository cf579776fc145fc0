import { FileError } from "../../lib/errors.ts";
import { parseTasks } from "../../ruler/task_file.ts";
import { RULER_TASKS, TASK_METRICS } from "../../ruler/tasks.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";

Deno.test("parseTasks() reads generators, arguments and tokens to generate", () => {
  const tasks = parseTasks({
    niah_8: { task: "niah", args: { type_haystack: "essay", num_needle_k: 8 } },
    hops: { task: "variable_tracking", args: { num_chains: 2, num_hops: 6 } },
    words: { task: "common_words_extraction", args: { num_cw: 5 }, tokens_to_generate: 60 },
    coded: { task: "freq_words_extraction", args: { alpha: 3.5 } },
    answers: { task: "qa", args: { dataset: "squad" } },
    tokens_to_generate: { hops: 50, other: 3 },
  }, "t.yaml");
  assertEquals([...tasks.keys()], ["niah_8", "hops", "words", "coded", "answers"]);
  assertEquals(tasks.get("niah_8"), {
    settings: {
      generator: "niah",
      haystack: "essay",
      keyType: "words",
      valueType: "numbers",
      keys: 8,
      values: 1,
      queries: 1,
    },
    tokensToGenerate: 128,
    metric: "all",
  });
  assertEquals(tasks.get("hops")?.tokensToGenerate, 50);
  assertEquals(tasks.get("words")?.tokensToGenerate, 60);
  assertEquals([...tasks.values()].map(({ metric }) => metric), [
    "all",
    "all",
    "all",
    "all",
    "part",
  ]);
});

Deno.test("parseTasks() passes over RULER's own tasks, and refuses others of their names", () => {
  const cwe = { task: "common_words_extraction", args: { freq_cw: 300, freq_ucw: 30, num_cw: 10 } };
  assertEquals(parseTasks({ cwe }, "t.yaml").size, 0);
  assertThrows(
    () => parseTasks({ cwe: { ...cwe, args: { ...cwe.args, freq_cw: 30 } } }, "t.yaml"),
    FileError,
    "Cannot use t.yaml: 'cwe' must have the settings of RULER's task, or another name",
  );
});

const REFUSED: readonly (readonly [value: unknown, line: string])[] = [
  [[], "it must hold tasks by name"],
  [{ "a b": { task: "niah" } }, "'a b' must be a name of letters, digits and '_'"],
  [{ "x-1": { task: "niah" } }, "'x-1' must be a name"],
  [{ x: 5 }, "'x' must be an object: current value is 5"],
  [{ x: { task: "toString" } }, "'x.task' must be one of niah, variable_tracking"],
  [{ x: { task: "niah", args: { num_needle_k: 0 } } }, "'x.args.num_needle_k' must be a whole"],
  [{ x: { task: "niah", args: { num_needles: 2 } } }, "'x.args.num_needles' must be an argument"],
  [{ x: { task: "niah", args: { type_haystack: "hay" } } }, "must be one of repeat, essay, needle"],
  [{ x: { task: "freq_words_extraction", args: { alpha: 1 } } }, "must be a number above 1"],
  [
    { x: { task: "qa" } },
    "'x.args.dataset' must be one of squad, hotpotqa: current value is missing",
  ],
  [
    { x: { task: "niah", tokens_to_generate: 1.5 } },
    "'x.tokens_to_generate' must be a whole number",
  ],
];

for (const [value, line] of REFUSED) {
  Deno.test(`parseTasks() refuses ${JSON.stringify(value)}`, () => {
    assertThrows(() => parseTasks(value, "t.yaml"), FileError, line);
  });
}

Deno.test("the metrics are those of the one list of tasks", () => {
  assertEquals(Object.keys(TASK_METRICS), Object.keys(RULER_TASKS));
  assertEquals(TASK_METRICS.qa_1, "part");
  assertEquals(TASK_METRICS.vt, "all");
});
