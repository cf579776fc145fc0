/**
 * Writes the tables of documents anew from the records in `bench/`: `deno task tables`, with `--check`
 * nothing is written.
 *
 * A table stands between `<!-- table NAME -->` and `<!-- end of table -->`; all else is left alone.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { errorText, EXIT_CODES, FileError } from "../lib/errors.ts";
import { BenchRecords } from "./performance/records.ts";
import { type Table, tableText } from "./performance/table.ts";
import { PRECISION_TABLES } from "./performance/precision_tables.ts";
import { TABLES } from "./performance/tables.ts";
import { SCALING_TABLES } from "./scaling/tables.ts";

/** A document, and every table that must be in it. */
export interface TableDocument {
  readonly path: string;
  readonly tables: Readonly<Record<string, (records: BenchRecords) => Table>>;
}

/** All documents with tables that are made of records. */
export const DOCUMENTS: readonly TableDocument[] = [
  { path: "docs/performance.md", tables: TABLES },
  { path: "docs/precision.md", tables: PRECISION_TABLES },
  { path: "docs/scaling.md", tables: SCALING_TABLES },
];

const BEGIN = /^<!-- table (\S+) -->$/;
const END = "<!-- end of table -->";

/**
 * A document with every table made of the records.
 *
 * @throws {FileError} If a table is not there exactly once, has no end, or has no record.
 */
export function refreshTables(
  text: string,
  { records, document }: { records: BenchRecords; document: TableDocument },
): string {
  const { path, tables } = document;
  const fault = (rule: string, value: string) =>
    new FileError(`Cannot make the tables of ${path} as ${rule}: current value is ${value}`);
  const out: string[] = [];
  const found: string[] = [];
  /** The table whose old lines are left out. */
  let open: string | undefined;
  for (const line of text.split("\n")) {
    const name = BEGIN.exec(line)?.[1];
    if (open !== undefined && name !== undefined) break;
    if (line === END) {
      if (open === undefined) throw fault(`'${END}' must follow a table`, "it follows none");
      open = undefined;
    }
    if (open !== undefined) continue;
    out.push(line);
    if (name === undefined) continue;
    const make = Object.hasOwn(tables, name) ? tables[name] : undefined;
    if (make === undefined) {
      throw fault(`a table must be one of ${Object.keys(tables).join(", ")}`, name);
    }
    out.push("", tableText(make(records)), "");
    found.push(name);
    open = name;
  }
  if (open !== undefined) throw fault(`table ${open} must end with '${END}'`, "it does not");
  for (const name of Object.keys(tables)) {
    const count = found.filter((one) => one === name).length;
    if (count !== 1) throw fault(`table ${name} must be there once`, `${count} of them`);
  }
  return out.join("\n");
}

async function main(): Promise<number> {
  const write = (text: string) => Deno.stderr.write(new TextEncoder().encode(`${text}\n`));
  let isCheck: boolean;
  try {
    isCheck = parseArgs({ options: { check: { type: "boolean", default: false } } }).values.check;
  } catch (error) {
    await write(`performance_tables: ${errorText(error)}`);
    return EXIT_CODES.usage;
  }
  try {
    const root = new URL("../", import.meta.url).pathname;
    const records = await BenchRecords.read(`${root}bench`);
    for (const document of DOCUMENTS) {
      const { path } = document;
      const text = await Deno.readTextFile(`${root}${path}`);
      const fresh = refreshTables(text, { records, document });
      if (fresh === text) continue;
      if (isCheck) throw new FileError(`${path} is not what bench/ says: run \`deno task tables\``);
      await Deno.writeTextFile(`${root}${path}`, fresh);
    }
    return EXIT_CODES.done;
  } catch (error) {
    await write(`performance_tables: ${errorText(error)}`);
    return EXIT_CODES.file;
  }
}

if (import.meta.main) Deno.exit(await main());
