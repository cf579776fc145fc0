/**
 * How `deno task test` divides files among processes, and what it reads in what they say.
 *
 * @module
 */
import { groupsOf, outcomeOf, summary, totalOf } from "../../scripts/testing/outcomes.ts";
import { assertEquals, assertStringIncludes } from "../helpers/assert.ts";
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
  assertEquals(outcomeOf(text, options), { passed: 3, failed: 0, ignored: 4, failures: [] });
  assertEquals(outcomeOf("ok | 3 passed | 0 failed (1m2s)\n", options).ignored, 0);
  assertEquals(
    outcomeOf("\x1b[32mok\x1b[0m | 1 passed | 0 failed (0ms)\n", options),
    { passed: 1, failed: 0, ignored: 0, failures: [] },
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

Deno.test("outcomeOf() reads what deno test says of tests that fail, of steps and of broken files", async () => {
  const files = {
    "a_test.ts": `Deno.test("good", () => {}); Deno.test.ignore("left", () => {});
      Deno.test("bad", async (t) => { await t.step("inner", () => { throw new Error("no"); }); });`,
    "b_test.ts": `throw new Error("broken");`,
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
    assertEquals({ passed, failed, ignored }, { passed: 1, failed: 2, ignored: 1 }, text);
    assertEquals(failures.length, 2, text);
    const shown = summary(totalOf([outcome, outcome]), { seconds: 61.7 });
    for (const name of ["bad ... inner", "b_test.ts (uncaught error)"]) {
      assertStringIncludes(shown, name);
    }
    assertStringIncludes(shown, "\nFAILED | 2 passed | 4 failed | 2 ignored (1m2s)\n");
  });
});

Deno.test("summary() has deno test's form", () => {
  const total = totalOf([
    outcomeOf("ok | 3 passed | 0 failed (1s)\n", options),
    outcomeOf("ok | 4 passed (7 steps) | 0 failed (1s)\n", options),
  ]);
  assertEquals(summary(total, { seconds: 5 }), "\nok | 7 passed | 0 failed (5s)\n");
});

Deno.test("the tests' tasks give their processes the same permissions", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const source = await Deno.readTextFile(new URL("scripts/test.ts", ROOT));
  const kernels = String(tasks["test:kernels"]).split(" ").filter((word) => word.startsWith("--"));
  assertEquals(kernels.filter((flag) => !source.includes(`"${flag}"`)), []);
});
