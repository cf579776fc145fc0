import { cleanPrediction, type Metric, scorePredictions } from "../../ruler/metrics.ts";
import { floatRepr, roundHalfEven } from "../../ruler/python/float.ts";
import { center, strip } from "../../ruler/python/text.ts";
import { TASK_METRICS } from "../../ruler/tasks.ts";
import { assert, assertEquals, assertStrictEquals, assertThrows } from "../helpers/assert.ts";
import { sharedFolder } from "../helpers/shared.ts";

interface MetricVectors {
  readonly postprocess_pred: readonly { readonly in: string; readonly out: string }[];
  readonly string_match: readonly {
    readonly preds: readonly string[];
    readonly refs: readonly (readonly string[])[];
    readonly all: number;
    readonly part: number;
  }[];
  readonly round_cases: readonly (readonly [number, number, number, string])[];
}

const shared = sharedFolder();
const ignore = shared === undefined;

function vectors(): MetricVectors {
  return JSON.parse(Deno.readTextFileSync(`${shared}/ruler/vectors/metrics.json`));
}

function score(metric: Metric, texts: string[], answers: string[][]): number {
  return scorePredictions(
    metric,
    texts.map((text, index) => ({ text, answers: answers[index] ?? [] })),
  );
}

Deno.test({
  name: "cleanPrediction() gives the original's text for every vector",
  ignore,
  fn() {
    const cases = vectors().postprocess_pred;
    assert(cases.length > 0);
    for (const { in: text, out } of cases) assertEquals(cleanPrediction(text), out);
  },
});

Deno.test({
  name: "scorePredictions() gives the original's scores for every vector",
  ignore,
  fn() {
    const cases = vectors().string_match;
    assert(cases.length > 0);
    for (const { preds, refs, all, part } of cases) {
      const predictions = preds.map((text, index) => ({ text, answers: refs[index] ?? [] }));
      assertStrictEquals(scorePredictions("all", predictions), all);
      assertStrictEquals(scorePredictions("part", predictions), part);
    }
  },
});

Deno.test({
  name: "roundHalfEven() and floatRepr() give Python's results for every vector",
  ignore,
  fn() {
    const cases = vectors().round_cases;
    assert(cases.length > 0);
    for (const [part, whole, rounded, text] of cases) {
      const value = roundHalfEven(part / whole * 100, 2);
      assertStrictEquals(value, rounded);
      assertEquals(floatRepr(value), text);
    }
  },
});

Deno.test("cleanPrediction() turns every control character inside the text into a newline", () => {
  assertEquals(cleanPrediction(" a\tb\u0000\r\nc\u001f "), "a\nb\n\n\nc");
  assertEquals(cleanPrediction("\u0000 \u0001"), "");
});

Deno.test("scorePredictions() counts the part of the answers with 'all', any answer with 'part'", () => {
  assertEquals(score("all", ["a b"], [["A", "b", "c"]]), 66.67);
  assertEquals(score("part", ["a b"], [["A", "b", "c"]]), 100);
  assertEquals(score("part", ["a b", ""], [["x"], ["y"]]), 0);
});

Deno.test("scorePredictions() throws without predictions and without answers", () => {
  assertThrows(
    () => scorePredictions("all", []),
    RangeError,
    "Cannot score predictions as there must be at least one: found none",
  );
  assertThrows(
    () => score("part", ["a", "b"], [["a"], []]),
    RangeError,
    "Cannot score predictions as each must have answers: number 1 has none",
  );
});

Deno.test("TASK_METRICS holds the 13 tasks, question answering with 'part'", () => {
  assertEquals(Object.keys(TASK_METRICS).length, 13);
  const parts = Object.entries(TASK_METRICS).filter(([, metric]) => metric === "part");
  assertEquals(parts.map(([task]) => task), ["qa_1", "qa_2"]);
});

Deno.test("roundHalfEven() rounds exact ties to the even digit", () => {
  assertEquals(roundHalfEven(0.125, 2), 0.12);
  assertEquals(roundHalfEven(0.375, 2), 0.38);
  assertEquals(roundHalfEven(2.675, 2), 2.67);
  assertEquals(roundHalfEven(-0.125, 2), -0.12);
  assertEquals(roundHalfEven(2 ** 60, 2), 2 ** 60);
  assertEquals(roundHalfEven(5e-324, 2), 0);
});

Deno.test("floatRepr() prints what Python prints", () => {
  const cases: [number, string][] = [
    [0, "0.0"],
    [-0, "-0.0"],
    [100, "100.0"],
    [0.1, "0.1"],
    [1e-4, "0.0001"],
    [1e-5, "1e-05"],
    [1.5e-7, "1.5e-07"],
    [1e15, "1000000000000000.0"],
    [123456789012345680, "1.2345678901234568e+17"],
    [1e16, "1e+16"],
    [1e100, "1e+100"],
    [-2.5, "-2.5"],
    [Infinity, "inf"],
    [NaN, "nan"],
  ];
  for (const [value, text] of cases) assertEquals(floatRepr(value), text);
});

Deno.test("strip() keeps a byte order mark and drops Python's separators", () => {
  assertEquals(strip("\u001c\u0085\u3000 a b \u2029\t"), "a b");
  assertEquals(strip("\ufeffa\u200b"), "\ufeffa\u200b");
  assertEquals(strip(" \n "), "");
});

Deno.test("center() puts an odd space to the right and counts code points", () => {
  assertEquals(center("ab", 5), " ab  ");
  assertEquals(center("\u{1f600}", 4), " \u{1f600}  ");
  assertEquals(center("abc", 2), "abc");
});
