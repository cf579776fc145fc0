/**
 * A few trials of each class of `scripts/torture.ts`, by a fixed seed.
 *
 * @module
 */
import { compareResults } from "../../scripts/torture/records.ts";
import { judge, Tally } from "../../scripts/torture/tally.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { runScript } from "../helpers/script.ts";

const PERMISSIONS = ["--allow-sys", "--allow-ffi", "--allow-run"];
/** How many of each class: enough to see that it works, few enough for every run of the tests. */
const COUNTS = { kills: 1, crashes: 1, calls: 3, inputs: 39 } as const;
const hasCompiler = await new Deno.Command("g++", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);

for (const [name, count] of Object.entries(COUNTS)) {
  Deno.test({
    name: `${count} of the torture's ${name} end as they must`,
    ignore: name === "crashes" && !hasCompiler,
    fn: async () => {
      const { code, stdout, stderr } = await runScript("scripts/torture.ts", [
        ...["--class", name, "--count", String(count), "--seed", "tests"],
      ], { env: { PATH: Deno.env.get("PATH") ?? "" }, permissions: PERMISSIONS });
      assertEquals([code, stderr], [0, ""], stdout);
      assert(stdout.includes(`\n${name}: tried ${count}, `), stdout);
    },
  });
}

Deno.test("the torture's judge tells ends that are promised from those that are not", () => {
  const kinds = (ended: Partial<Parameters<typeof judge>[0]>, sent: string[] = []) =>
    judge({ code: 0, signal: null, stderr: "", isLate: false, ...ended }, sent).faults.map((
      { kind },
    ) => kind);
  assertEquals(kinds({}), []);
  assertEquals(kinds({ code: 3, stderr: "error: Cannot read x\n" }), []);
  assertEquals(kinds({ code: 3, stderr: "error: a\nerror: b\n" }), ["other"]);
  assertEquals(kinds({ code: 1, stderr: "error: a\n" }), ["other"]);
  assertEquals(kinds({ code: 1, stderr: "A bug in this program: x\n    at y\n" }), ["trace"]);
  assertEquals(kinds({ code: 139, signal: "SIGSEGV" }), ["signal"]);
  assertEquals(kinds({ code: 137, signal: "SIGKILL" }, ["SIGKILL"]), []);
  assertEquals(kinds({ code: 130 }, ["SIGINT"]), []);
  assertEquals(kinds({ code: 130 }), ["other"]);
  assertEquals(kinds({ isLate: true }), ["hang"]);
});

Deno.test("the torture tells records that are lost, doubled and different apart", () => {
  const expected = "a\nb\nc\n";
  const kinds = (found: string | undefined) =>
    compareResults("x", { found, expected }).map(({ kind }) => kind);
  assertEquals(kinds(expected), []);
  assertEquals(kinds("a\nb\n"), ["lost"]);
  assertEquals(kinds(undefined), ["lost"]);
  assertEquals(kinds("a\nb\nb\nc\n"), ["doubled"]);
  assertEquals(kinds("a\nx\nc\n"), ["different"]);
});

Deno.test("the torture's counts name each fault and what repeats it", () => {
  const said: string[] = [];
  const tally = new Tally((line) => said.push(line));
  const name = { class: "kills", kind: "k", seed: "s", index: 7, what: "w" };
  tally.add(name, { how: "well", faults: [] });
  assertEquals([tally.hasFaults, said], [false, []]);
  tally.add(name, { how: "ended", faults: [{ kind: "lost", text: "t" }] });
  assert(said.join().includes("--class kills --seed s --first 7 --count 1"), said.join());
  const [first = ""] = tally.lines();
  assert(first.startsWith("kills: tried 2, refused 0, well 1, ended 1, "), first);
  assert(first.includes("lost 1"), first);
});
