/**
 * How `deno task test` divides files among processes, and what it reads in what they say.
 *
 * @module
 */
import { groupsOf, outcomeOf, summary, totalOf } from "../../scripts/testing/outcomes.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { ROOT } from "../helpers/sources.ts";

Deno.test("groupsOf() runs every file once, those first that take long", () => {
  const short = Array.from({ length: 11 }, (_, i) => `tests/ruler/${i}_test.ts`);
  const long = ["tests/lib/b_test.ts", "tests/e2e/z_test.ts", "tests/lib/a_test.ts"];
  const groups = groupsOf([...short, ...long]);
  assertEquals(groups.slice(0, 3), [
    ["tests/e2e/z_test.ts"],
    ["tests/lib/a_test.ts"],
    ["tests/lib/b_test.ts"],
  ]);
  assertEquals(groups.slice(3).map(({ length }) => length), [8, 3]);
  assertEquals(groups.flat().sort(), [...short, ...long].sort());
});

const options = { success: true, files: ["a_test.ts", "b_test.ts"] };

Deno.test("outcomeOf() reads the last counts, whatever tests print", () => {
  const counts = "ok | 3 passed (2 steps) | 0 failed | 4 ignored (1 step) (2s)";
  const text = `ok | 9 passed | 0 failed (1s)\n\n${counts}\n\n`;
  const good = { failures: [], reasons: [] };
  assertEquals(outcomeOf(text, options), { passed: 3, failed: 0, ignored: 4, ...good });
  assertEquals(outcomeOf("ok | 3 passed | 0 failed (1m2s)\n", options).ignored, 0);
  assertEquals(
    outcomeOf("\x1b[32mok\x1b[0m | 1 passed | 0 failed (0ms)\n", options),
    { passed: 1, failed: 0, ignored: 0, ...good },
  );
});

Deno.test("outcomeOf() counts a process that ends without counting, or otherwise than it counted", () => {
  const lost = "a_test.ts b_test.ts (the process ended otherwise than it counted)";
  for (
    const [text, success, expected] of [
      ["running 3 tests\n", false, [0, 1]],
      ["running 3 tests\n", true, [0, 1]],
      ["ok | 3 passed | 0 failed (1s)\n", false, [3, 1]],
      ["FAILED | 3 passed | 1 failed (1s)\n", true, [3, 2]],
    ] as const
  ) {
    const outcome = outcomeOf(text, { ...options, success });
    assertEquals([outcome.passed, outcome.failed], [...expected], text);
    assertEquals(outcome.failures, [lost]);
  }
});

Deno.test("outcomeOf() shows the last words of a process that ended without counting", () => {
  const text = Array.from({ length: 30 }, (_, i) => `test ${i} ... ok\n\n`).join("");
  const errors = "\x1b[31mpanicked\x1b[0m at here\n" + "x".repeat(900);
  const { reasons } = outcomeOf(text, { ...options, success: false, errors });
  const lines = reasons[0]?.split("\n") ?? [];
  assertEquals(reasons.length, 1);
  assertEquals(lines[0], "a_test.ts b_test.ts (the process ended otherwise than it counted)");
  assertEquals(lines.slice(1, 3), ["test 18 ... ok", "test 19 ... ok"]);
  assertEquals(lines.slice(-2), ["panicked at here", `${"x".repeat(400)}...`]);
});

Deno.test("outcomeOf() reads what deno test says of tests that fail, of steps and of broken files", async () => {
  const files = {
    "a_test.ts": `Deno.test("good", () => {}); Deno.test.ignore("left", () => {});
      Deno.test("bad", async (t) => { await t.step("inner", () => { throw new Error("no"); }); });`,
    "b_test.ts": `throw new Error("broken");`,
    "c_test.ts": `Deno.test("long", () => {
      throw new Error(Array.from({ length: 90 }, (_, i) => "line " + i).join("\\n"));
    });`,
  };
  await inFolder(files, async (folder) => {
    const { success, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-check", "--no-config", "--no-lock", folder],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    const outcome = outcomeOf(text, { ...options, success });
    const { passed, failed, ignored, failures } = outcome;
    assertEquals({ passed, failed, ignored }, { passed: 1, failed: 3, ignored: 1 }, text);
    assertEquals(failures.length, 3, text);
    const reasons = outcome.reasons.map((reason) => reason.split("\n"));
    const said = reasons.map(([name = "", error = ""]) => `${name.split(" =>", 1)[0]}: ${error}`);
    assertEquals(said, [
      "bad ... inner: error: Error: no",
      "./b_test.ts (uncaught error): error: (in promise) Error: broken",
      "long: error: Error: line 0",
    ]);
    const long = reasons[2] ?? [];
    assertEquals(long.slice(2, 4), ["line 1", "line 2"]);
    assertMatch(long.at(-2) ?? "", /^\.\.\. \(\d+ more lines above\)$/);
    assertMatch(long.at(-1) ?? "", /^ {4}at .*c_test\.ts:2:\d+/);
    const end = summary(outcome, { seconds: 1 }).split("\n");
    assert(end.length <= 60, "what failed is at the end of a log");
    const shown = summary(totalOf([outcome, outcome]), { seconds: 61.7 });
    for (const name of ["bad ... inner", "b_test.ts (uncaught error)"]) {
      assertStringIncludes(shown, name);
    }
    assertStringIncludes(shown, "\nFAILED | 2 passed | 6 failed | 2 ignored (1m2s)\n");
  });
});

Deno.test("summary() has deno test's form", () => {
  const total = totalOf([
    outcomeOf("ok | 3 passed | 0 failed (1s)\n", options),
    outcomeOf("ok | 4 passed (7 steps) | 0 failed (1s)\n", options),
  ]);
  assertEquals(summary(total, { seconds: 5 }), "\nok | 7 passed | 0 failed (5s)\n");
});

Deno.test("summary() says why three long tests failed within 60 lines, and bounds what many say", () => {
  const block = (i: number) => {
    const lines = Array.from({ length: 200 }, (_, line) => `said ${line} of ${i}`);
    return `test ${i} => ./a_test.ts:${i}:1\nerror: Error: ${
      lines.join("\n")
    }\n    at a_test.ts:${i}\n`;
  };
  const told = (count: number) => {
    const all = Array.from({ length: count }, (_, i) => i);
    const names = all.map((i) => `test ${i} => ./a_test.ts:${i}:1`).join("\n");
    const text = `\n ERRORS \n\n${all.map(block).join("\n")}\n FAILURES \n\n${names}\n\n` +
      `FAILED | 0 passed | ${count} failed (1s)\n`;
    return summary(outcomeOf(text, { ...options, success: false }), { seconds: 9 });
  };
  const three = told(3).trimEnd().split("\n").slice(-60).join("\n");
  for (const i of [0, 1, 2]) {
    assertStringIncludes(three, `test ${i} => ./a_test.ts:${i}:1\nerror: Error: said 0 of ${i}\n`);
  }
  const many = told(40);
  assertStringIncludes(many, "\n... (28 more)\n\n FAILURES \n");
  assertStringIncludes(many, "test 39 => ./a_test.ts:39:1\n\nFAILED | 0 passed | 40 failed (9s)\n");
});

Deno.test("the tests' tasks give their processes the same permissions", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const source = await Deno.readTextFile(new URL("scripts/test.ts", ROOT));
  const kernels = String(tasks["test:kernels"]).split(" ").filter((word) => word.startsWith("--"));
  assertEquals(kernels.filter((flag) => !source.includes(`"${flag}"`)), []);
});
