import { type Metric, scorePredictions } from "../../ruler/metrics.ts";
import { formatMean, meanOverTasks, meanScore } from "../../ruler/scores.ts";
import { assert, assertEquals } from "../helpers/assert.ts";

Deno.test("meanScore() gives the standard error of the mean", () => {
  const values = Array.from({ length: 400 }, (_, index) => index % 4 === 0 ? 0 : 100);
  const { mean, stderr = 0, count } = meanScore(values);
  assertEquals([mean, count], [75, 400]);
  // The deviation of a drawing over the root of their number; the bootstrap's own error is 2%.
  const expected = 100 * Math.sqrt(0.75 * 0.25) / Math.sqrt(400);
  assert(Math.abs(stderr / expected - 1) < 0.1, `${stderr} must be about ${expected}`);
  assertEquals(meanScore(values), meanScore(values));
});

Deno.test("meanScore() knows no error of one sample and none of equal ones", () => {
  assertEquals(meanScore([50]), { mean: 50, stderr: undefined, count: 1 });
  assertEquals(meanScore([100, 100, 100]), { mean: 100, stderr: 0, count: 3 });
});

Deno.test("meanOverTasks() counts tasks alike and adds up their errors", () => {
  const tasks = [{ mean: 100, stderr: 3, count: 500 }, { mean: 50, stderr: 4, count: 5 }];
  assertEquals(meanOverTasks(tasks), { mean: 75, stderr: 2.5, count: 505 });
  const [first = { mean: 0, stderr: 0, count: 0 }] = tasks;
  const unknown = { mean: 50, stderr: undefined, count: 1 };
  assertEquals(meanOverTasks([first, unknown]).stderr, undefined);
});

Deno.test("formatMean() shows one digit behind the point", () => {
  assertEquals(formatMean({ mean: 95, stderr: 2.24 }), "95.0 ± 2.2");
  assertEquals(formatMean({ mean: 95.06, stderr: undefined }), "95.1");
});

const METRICS: readonly (readonly [Metric, text: string, answers: string[], score: number])[] = [
  ["exact", " Paris ", ["paris", "x"], 100],
  ["exact", "Paris, France", ["paris"], 0],
  ["f1", "The capital is Paris.", ["paris"], 50],
  ["f1", "the Paris", ["A paris!"], 100],
  ["f1", "red red", ["red blue", "green"], 50],
  ["f1", "x", ["y"], 0],
];

for (const [metric, text, answers, score] of METRICS) {
  Deno.test(`scorePredictions() scores '${text}' by ${metric} with ${score}`, () => {
    assertEquals(scorePredictions(metric, [{ text, answers }]), score);
  });
}
