import { formatReport } from "../../ruler/report.ts";
import { assertEquals } from "../helpers/assert.ts";

Deno.test("formatReport() shows tasks in rows, lengths in columns, the mean last", () => {
  const text = formatReport([
    {
      maxTokens: 4096,
      scores: [
        { task: "niah_single_1", score: 100 },
        { task: "cwe", score: undefined, reason: "sample 1 has no answers" },
        { task: "vt", score: 33.333 },
      ],
    },
    {
      maxTokens: 131072,
      scores: [
        { task: "niah_single_1", score: 90 },
        { task: "cwe", score: 0 },
        { task: "vt", score: 60 },
        { task: "qa_1", score: 50 },
      ],
    },
  ], { notes: ["words: builtin"] });
  assertEquals(
    text,
    `task             4096  131072
-------------  ------  ------
niah_single_1  100.00   90.00
cwe               n/a    0.00
vt              33.33   60.00
qa_1                    50.00
-------------  ------  ------
mean           66.67*   50.00

cwe at 4096: n/a, sample 1 has no answers
* mean of fewer tasks than in other columns
words: builtin
`,
  );
});

Deno.test("formatReport() shows n/a as the mean of a column without scores", () => {
  const text = formatReport([{ maxTokens: 16, scores: [{ task: "vt", score: undefined }] }]);
  assertEquals(text, "task   16\n----  ---\nvt    n/a\n----  ---\nmean  n/a\n");
});

Deno.test("formatReport() is empty without scores", () => {
  assertEquals(formatReport([]), "");
  assertEquals(formatReport([{ maxTokens: 4096, scores: [] }]), "");
});
