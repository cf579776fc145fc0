/**
 * `--decode_keep` as a share and as a threshold, and what `run.json` keeps of it.
 *
 * @module
 */
import { decodeKeepOf } from "../../commands/shared/decode_keep_flag.ts";
import { planOptions } from "../../commands/shared/run_options.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertEquals, assertMatch, assertThrows } from "../helpers/assert.ts";
import { MODEL } from "../helpers/prompts.ts";
import { runScript } from "../helpers/script.ts";

Deno.test("decodeKeepOf() takes a share or a threshold", () => {
  assertEquals([decodeKeepOf("0.5"), decodeKeepOf("1"), decodeKeepOf("tau:0.9")], [
    0.5,
    1,
    { threshold: 0.9 },
  ]);
  for (const text of ["half", "tau:", "tau:x", "0,5", "", "TAU:0.9"]) {
    assertThrows(() => decodeKeepOf(text), UsageError, `current value is '${text}'`);
  }
});

Deno.test("run.json keeps --decode_keep where not all keys are read", () => {
  const run = { device: "cpu", dtype: "f32", processCount: 1 };
  const kept = (text: string) =>
    planOptions(checkPlan({ decodeKeep: decodeKeepOf(text) }), run)["decode_keep"];
  assertEquals([kept("1"), kept("tau:1"), kept("0.50"), kept("tau:0.9")], [
    undefined,
    undefined,
    "0.5",
    "tau:0.9",
  ]);
});

Deno.test("cli.ts refuses --decode_keep with one line and exit code 2", async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["--decode_keep", "half"], /^error: --decode_keep: must be a share as 0\.5 or a threshold/],
    [["--decode_keep", "0"], /'--decode_keep' must be a share, or .*: current value is 0\n/],
    [["--decode_keep", "0.5", "-a=ring"], /'--decode_keep' must be absent in ring and ringx/],
    [
      ["--decode_keep", "0.5", "-a=star", "-bs", "300"],
      /'--block_size' must be a multiple of 128 with '--decode_keep': current value is 300/,
    ],
  ];
  for (const [flags, message] of cases) {
    const files = ["--input_path", "/nowhere", "--output_path", "/nowhere"];
    const common = ["infer", "-p", MODEL, ...files, "--tokens_to_generate", "4", "-a", "dense"];
    const { code, stderr } = await runScript("cli.ts", [...common, ...flags], { env: {} });
    assertEquals(code, 2, stderr);
    assertMatch(stderr, message);
  }
});
