/**
 * A BABILong run from Parquet rows to its table, and again.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { parquetOf } from "../helpers/parquet.ts";
import { runScript, type ScriptOutput } from "../helpers/script.ts";

const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;
const PERMISSIONS = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
const FACTS = "Mary went to the garden. John moved to the kitchen.";
const NOISE = "The grass is green. The sky is blue. ";

function starx(...args: readonly string[]): Promise<ScriptOutput> {
  return runScript("cli.ts", args, { env: {}, permissions: PERMISSIONS });
}

Deno.test("babilong runs from rows to a table, continues, and is gathered", async () => {
  await inFolder({}, async (folder) => {
    const rows = [0, 1, 2].map((i) => ({
      input: NOISE.repeat(20) + FACTS + NOISE.repeat(20 + i),
      question: "Where is Mary?",
      target: "garden",
    }));
    const data = `${folder}/data/babilong/4k/qa1`;
    await Deno.mkdir(data, { recursive: true });
    await Deno.writeFile(`${data}/0000.parquet`, parquetOf(rows, { groupRows: 2 }));
    const run = (...flags: readonly string[]) =>
      starx(
        ...["babilong", "-n", "tiny", "-p", TINY, "-pc", "llama3", "-a", "starx", "-np", "1"],
        ...["-bs", "512", "-as", "512", "-l", "4k", "--source_dir", `${folder}/data`],
        ...["--output_dir", `${folder}/results`, "--device", "cpu", ...flags],
      );
    const first = await run("-t", "qa1", "qa2");
    assertEquals(first.code, 0, first.stderr);
    assertMatch(first.stdout, /^qa1 +\d/m);
    assertMatch(
      first.stderr,
      /qa2 at 4096: skipped, .*--benchmark babilong --splits 4k --tasks qa2'/,
    );
    const results = `${folder}/results/tiny_starx_b512a512`;
    const lines = (await Deno.readTextFile(`${results}/4096/qa1.jsonl`)).trim().split("\n");
    assertEquals(lines.length, 3);
    const { input_context: context, input_query: query, outputs } = JSON.parse(lines[2] ?? "");
    assert(context.includes(FACTS) && context.endsWith("</context>\n\n"), context);
    assertEquals(
      query,
      "Question: Where is Mary?<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
    );
    assertEquals(outputs, ["garden"]);
    const again = await run("-t", "qa1");
    assertEquals([again.code, again.stdout], [0, again.stdout], again.stderr);
    assertEquals((await Deno.readTextFile(`${results}/4096/qa1.jsonl`)).trim().split("\n"), lines);
    const gathered = await starx("gather", "-e", results, "--format", "original", "-ht");
    assertEquals(gathered.code, 0, gathered.stderr);
    assertMatch(gathered.stdout, /^16k,-1,-1,-1,-1,-1\n32k,/);
    assertMatch(await Deno.readTextFile(`${results}/tiny_starx_b512a512.svg`), /^<svg /);
    const table = await starx("gather", "-e", results);
    assertEquals(table.code, 0, table.stderr);
    assertMatch(table.stdout, /qa1/);
  });
});

Deno.test("babilong refuses a length that no split has", async () => {
  const flags = ["-n", "x", "-p", TINY, "-pc", "base", "-a", "dense", "-l", "5000"];
  const { code, stderr } = await starx("babilong", ...flags);
  assertEquals(code, 2);
  assertMatch(stderr, /^error: --seq_lengths: must be one of 0 \(0k\), 1024 \(1k\), .* is 5000\n$/);
});
