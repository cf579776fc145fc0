import { DOCUMENTS, refreshTables, type TableDocument } from "../../scripts/performance_tables.ts";
import { type BenchRecord, BenchRecords } from "../../scripts/performance/records.ts";
import { tableText } from "../../scripts/performance/table.ts";
import { PRECISION_TABLES } from "../../scripts/performance/precision_tables.ts";
import { TABLES } from "../../scripts/performance/tables.ts";
import { FileError } from "../../lib/errors.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const records = await BenchRecords.read(`${ROOT}bench`);
const text = await Deno.readTextFile(`${ROOT}docs/performance.md`);
const document: TableDocument = { path: "docs/performance.md", tables: TABLES };

for (const document of DOCUMENTS) {
  Deno.test(`the tables of ${document.path} are what bench/ says`, async () => {
    const text = await Deno.readTextFile(`${ROOT}${document.path}`);
    const fresh = refreshTables(text, { records, document });
    assert(fresh === text, "they are stale: run `deno task tables`");
  });
}

Deno.test("refreshTables() makes a table anew whatever stands in its place, and leaves all else", () => {
  assertEquals(
    refreshTables(text.replaceAll(/^\|.*$/gm, ""), { records, document }).includes("| decode"),
    true,
  );
  const changed = text.replace("|       6.70 |", "|       6.60 |");
  assertNotEquals(changed, text);
  assertEquals(refreshTables(changed, { records, document }), text);
  const longer = `${text}\nA line of prose.\n`;
  assertEquals(refreshTables(longer, { records, document }), longer);
});

Deno.test("refreshTables() shows another figure where a record has another one", async () => {
  await inFolder({}, async (folder) => {
    for await (const { name } of Deno.readDir(`${ROOT}bench`)) {
      const lines = await Deno.readTextFile(`${ROOT}bench/${name}`);
      const other = lines.replaceAll('"ctx":8192,"tokens_per_s":149.18', (found) => {
        return found.replace("149.18", "200");
      });
      await Deno.writeTextFile(`${folder}/${name}`, other);
    }
    const other = refreshTables(text, { records: await BenchRecords.read(folder), document });
    const [old, fresh] = [text, other].map((one) =>
      one.split("\n").filter((line) => line.startsWith("| 8,192        |"))
    );
    assertEquals(old, [
      "| 8,192        |       6.70 |      149 | 2,400 GB/s | 14.8 tokens/s |",
    ]);
    assertEquals(fresh, [
      "| 8,192        |       5.00 |      200 | 2,400 GB/s | 14.8 tokens/s |",
    ]);
  });
});

Deno.test("refreshTables() refuses documents that it cannot fill", () => {
  const names = Object.keys(TABLES);
  const begin = (name: string) => `<!-- table ${name} -->`;
  const end = "<!-- end of table -->";
  const whole = names.map((name) => `${begin(name)}\n${end}\n`).join("");
  refreshTables(whole, { records, document });
  for (
    const [text, message] of [
      [
        whole.replace(`${begin("h100-decode")}\n${end}\n`, ""),
        "table h100-decode must be there once",
      ],
      [whole + whole, "must be there once: current value is 2 of them"],
      [`${whole}${begin("none")}\n${end}\n`, "current value is none"],
      [`${whole}${begin("toString")}\n${end}\n`, "current value is toString"],
      [`${whole}${end}\n`, "must follow a table"],
      [whole.replace(end, ""), "must end with"],
    ] as const
  ) {
    assertThrows(() => refreshTables(text, { records, document }), FileError, message);
  }
});

Deno.test("a table needs each of its records once, with numbers", () => {
  const record = (value: unknown): BenchRecord => ({
    file: "bench/h100-peers.jsonl",
    line: 3,
    value,
  });
  const decode = (...peers: unknown[]) => {
    const own = ["dense 8k", "xattn 128k"].map((part, i) =>
      record({ part, decode: [{ ctx: i, tokens_per_s: 100, gb_per_s: 2000 }] })
    );
    const files = new Map([
      ["h100-prefill-decode", own],
      ["h100-peers", peers.map(record)],
    ]);
    return TABLES["h100-decode"]?.(new BenchRecords(files));
  };
  const peer = (context: number, tokens_per_s: unknown) => ({
    what: "decode",
    context,
    tokens_per_s,
  });
  assertEquals(decode(peer(0, 1), peer(1, 2))?.rows[1], [
    ...["1", "10.00", "100", "2,000 GB/s", "2.0 tokens/s"],
  ]);
  assertThrows(() => decode(peer(0, 1)), FileError, "0 were found");
  assertThrows(() => decode(peer(0, 1), peer(1, 2), peer(1, 2)), FileError, "2 were found");
  assertThrows(
    () => decode(peer(0, "fast"), peer(1, 2)),
    FileError,
    "'tokens_per_s' of bench/h100-peers.jsonl, line 3, must be a number: current value is \"fast\"",
  );
});

Deno.test("tables of CPUs have medians of all rounds, and shares round by round", () => {
  const rounds = (engine: string, rates: readonly number[]) =>
    ["1b", "135m"].flatMap((model) =>
      [["bf16", 1], ["int8", 1], ["bf16", 8]].flatMap(([weights, batch]) =>
        rates.map((tokens_per_s, i) => ({
          ...{ engine, model, weights, batch, what: "decode", ctx: 512 },
          ...{ tokens_per_s, gb_per_s: 2 * tokens_per_s, read_gb_per_s: [20, 80, 100][i] },
        }))
      )
    );
  const values = [...rounds("StarX", [10, 30, 20]), ...rounds("llama.cpp", [5])];
  const file = values.map((value, i) => ({ file: "bench/zen5-peers.jsonl", line: i + 1, value }));
  const make = TABLES["zen5-decode"];
  assertEquals(make?.(new BenchRecords(new Map([["zen5-peers", file]]))).rows[0], [
    ...["1B, bf16", "20.0", "5.00", "4.00 x", "40.0", "80.0", "0.75", "3"],
  ]);
  const own = file.slice(0, -1);
  assertThrows(
    () => make?.(new BenchRecords(new Map([["zen5-peers", own]]))),
    FileError,
    "0 were found",
  );
});

Deno.test("tableText() lays a table out as deno fmt does", () => {
  const table = { head: ["name", ">figure"], rows: [["a", "1.5"], ["longer", ""]] };
  assertEquals(
    tableText(table),
    "| name   | figure |\n| ------ | -----: |\n| a      |    1.5 |\n| longer |        |",
  );
});

Deno.test("the table of int8 weights takes differences of the samples that both settings have", () => {
  const values = ["dense", "star"].flatMap((mode) =>
    [4096, 8192].flatMap((length) => [
      { weights: "bf16", cache: "bf16", mode, length, task: "vt", scores: [100, 60, 0] },
      { weights: "bf16", cache: "bf16", mode, length, task: "fwe", scores: [50, 50] },
      { weights: "int8", cache: "bf16", mode, length, task: "vt", scores: [100, 80] },
      { weights: "int8", cache: "bf16", mode, length, task: "fwe", scores: [50, 50, 50] },
      { weights: "int8", cache: "int8", mode, length, task: "vt", scores: [100, 60, 0] },
      { weights: "int8", cache: "int8", mode, length, task: "fwe", scores: [40, 40] },
    ])
  );
  const lines = values.map((value, i): BenchRecord => ({ file: "r", line: i + 1, value }));
  const table = PRECISION_TABLES["precision-int8"]?.(
    new BenchRecords(new Map([["amx-ruler", lines]])),
  );
  assertEquals(table?.rows[0], [
    "dense, 4,096",
    "51.7 ± 14.5",
    "70.0 ± 5.0",
    "+5.00 ± 5.00",
    "4",
    "46.7 ± 14.5",
    "-5.00 ± 0.00",
    "5",
  ]);
});
