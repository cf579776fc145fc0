/**
 * `--threshold` as a number and as a file; a bad file is one line with its name.
 *
 * @module
 */
import { thresholdOf } from "../../commands/shared/threshold_flag.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assertEquals, assertMatch, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { runScript } from "../helpers/script.ts";

const TABLE = { stride: 16, layers: [[0, 0.5], [1, 0.25]], model: null };

Deno.test("thresholdOf() takes a number, a share, or a file with a table", async () => {
  assertEquals([thresholdOf("0.95"), thresholdOf("1"), thresholdOf(".5")], [0.95, 1, 0.5]);
  assertEquals(thresholdOf("share:0.02"), { share: 0.02 });
  const message = "--threshold: must have a number behind 'share:': current value is 'x'";
  assertThrows(() => thresholdOf("share:x"), UsageError, message);
  const text = JSON.stringify({ ...TABLE, source: "somewhere" });
  await inFolder({ "t.json": text }, (folder) => {
    assertEquals(thresholdOf(`${folder}/t.json`), { ...TABLE, file: `${folder}/t.json` });
    return Promise.resolve();
  });
});

Deno.test("thresholdOf() names file and key of a bad table", async () => {
  const cases: readonly (readonly [string, string])[] = [
    ["{", "it is not JSON ("],
    ["[]", "as its value must be an object: current value is []"],
    ["{}", 'as "stride" is missing: it must be a number'],
    [JSON.stringify({ stride: 16, model: null }), 'as "layers" is missing: it must be an array'],
    [
      JSON.stringify({ ...TABLE, layers: [[0.5, 2]] }),
      'as "layers[0][1]" must be from 0 to 1: current value is 2',
    ],
    [
      JSON.stringify({ ...TABLE, model: "abc" }),
      'as "model" must be a SHA-256 in 64 hexadecimal digits, or null: current value is "abc"',
    ],
  ];
  for (const [text, message] of cases) {
    await inFolder({ "t.json": text }, (folder) => {
      assertThrows(() => thresholdOf(`${folder}/t.json`), FileError, `${folder}/t.json`);
      assertThrows(() => thresholdOf(`${folder}/t.json`), FileError, message);
      return Promise.resolve();
    });
  }
  assertThrows(() => thresholdOf("/nowhere/t.json"), FileError, "it does not exist");
  assertThrows(() => thresholdOf("t.json"), FileError, "Cannot read t.json: it does not exist");
  assertThrows(() => thresholdOf("/"), FileError, "it is not a file");
  for (const word of ["0,9", "NaN", "high"]) {
    assertThrows(() => thresholdOf(word), UsageError, `current value is '${word}'`);
  }
});

Deno.test("cli.ts refuses a table that does not fit with one line and its exit code", async () => {
  const layers = Array(6).fill(Array(8).fill(0.9));
  const cases: readonly (readonly [unknown, number, RegExp])[] = [
    [{ layers, model: null }, 3, /^error: Cannot use \S+\/t\.json as "stride" is missing/],
    [
      { stride: 8, layers, model: null },
      2,
      /^error: Cannot use \S+\/t\.json as "stride" must be '--stride' 16: current value is 8$/,
    ],
    [
      { stride: 16, layers: layers.slice(1), model: null },
      2,
      /^error: Cannot use \S+\/t\.json as "layers" must be of as many layers as .*, 6: .* is 5$/,
    ],
    [
      { stride: 16, layers: layers.map((row) => row.slice(1)), model: null },
      2,
      /^error: Cannot use \S+\/t\.json as "layers\[0\]" must be of as many query heads .*, 8: .* is 7$/,
    ],
    [
      { stride: 16, layers, model: "0".repeat(64) },
      2,
      /^error: .*\/t\.json as "model" must be of the model in .*, whose SHA-256 is [0-9a-f]{12}\.\.\.: .*"0{12}\.\.\."$/,
    ],
  ];
  for (const [table, expected, message] of cases) {
    const files = {
      "t.json": JSON.stringify(table),
      "in.jsonl": `${JSON.stringify({ input_context: "a", input_query: "b", outputs: [] })}\n`,
    };
    await inFolder(files, async (folder) => {
      const paths = ["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`];
      const flags = ["-p", MODEL, "-a", "xattn", "--threshold", `${folder}/t.json`];
      const args = ["infer", ...flags, ...paths, "--device", "cpu", "--tokens_to_generate", "1"];
      const permissions = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
      const { code, stderr } = await runScript("cli.ts", args, { env: {}, permissions });
      const [line = "", ...more] = stderr.trim().split("\n");
      assertEquals([code, more], [expected, []], stderr);
      assertMatch(line, message);
    });
  }
});
