/**
 * Makes a file for `--threshold` of a table of XAttention's own (arXiv 2503.16428), which is a list of
 * lists in a Python file. The file is read, not run.
 *
 *     deno run --allow-read --allow-write scripts/convert_thresholds.ts CHECKOUT|FILE.py \
 *       [--name llama_fuse_16] [--output thresholds.json] [-p MODEL]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { readTable } from "../lib/attention/thresholds.ts";
import { errorText, EXIT_CODES, FileError, UsageError } from "../lib/errors.ts";
import { replaceFile } from "../lib/files.ts";
import { modelDigest } from "../lib/model/digest.ts";
import { describeValue, readTextFile } from "../lib/text_file.ts";

/** Where a checkout has its tables. */
const TABLES = "xattn/threshold/llama_threshold.py";
const MAX_BYTES = 1 << 26;

/**
 * What a Python literal of numbers is made of, and the name of a call that makes an array of it, as
 * in `torch.tensor([...])`. A comment reaches to its line's end.
 */
const TOKEN = /\s+|#[^\n]*|[[\](),]|[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[a-z_][\w.]*(?=\()/iy;

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs the command line. @returns The exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    await convert(args);
    return EXIT_CODES.done;
  } catch (error) {
    const text = new TextEncoder().encode(`error: ${errorText(error)}\n`);
    await Deno.stderr.write(text);
    if (error instanceof UsageError) return EXIT_CODES.usage;
    return error instanceof FileError ? EXIT_CODES.file : EXIT_CODES.bug;
  }
}

async function convert(args: readonly string[]): Promise<void> {
  const { place, name, output, model } = readArguments(args);
  const stride = Number(/_(\d+)$/.exec(name)?.[1]);
  if (!Number.isInteger(stride) || stride < 1 || 128 % stride !== 0) {
    throw new UsageError(
      `--name: must end in a stride, a divisor of 128: current value is '${name}'`,
    );
  }
  const path = place.endsWith(".py") ? place : `${place.replace(/\/+$/, "")}/${TABLES}`;
  const layers = pythonTable(await readTextFile(path, { maxBytes: MAX_BYTES }), { name, path });
  const digest = model === undefined ? null : await modelDigest(model);
  const table = readTable({ stride, layers, model: digest }, ({ key, rule, value }) => {
    const found = describeValue(value);
    return new FileError(`Cannot use ${path} as ${name} must have ${key} ${rule}: found ${found}`);
  });
  await replaceFile(output, [`${JSON.stringify({ ...table, source: `XAttention, ${name}` })}\n`]);
}

function readArguments(args: readonly string[]) {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        name: { type: "string", default: "llama_fuse_16" },
        output: { type: "string", short: "o", default: "thresholds.json" },
        model_path: { type: "string", short: "p" },
      },
    });
  } catch (error) {
    throw new UsageError(errorText(error), { cause: error });
  }
  const { values: { name, output, model_path: model }, positionals } = parsed;
  const [place] = positionals;
  if (place === undefined || positionals.length > 1) {
    throw new UsageError(
      "CHECKOUT: must be one folder, or one Python file: " +
        `current value is '${positionals.join(" ")}'`,
    );
  }
  return { place, name, output, model };
}

/**
 * The list of lists of numbers that a name is given in Python.
 *
 * @param text A Python file.
 * @param options `name`: of the variable; `path`: of the file, for messages.
 * @throws {FileError} If the name is given no such list.
 */
export function pythonTable(
  text: string,
  options: { name: string; path: string },
): number[][] {
  const { name, path } = options;
  const start = new RegExp(`^${name.replaceAll(/\W/g, "\\$&")}[ \\t]*=`, "m").exec(text);
  if (start === null) throw new FileError(`Cannot use ${path} as it must give ${name} a value`);
  let at = start.index + start[0].length;
  const pattern = new RegExp(TOKEN);
  const next = (): string => {
    for (;;) {
      pattern.lastIndex = at;
      const token = pattern.exec(text)?.[0];
      if (token === undefined) return text[at] ?? "the file's end";
      at += token.length;
      if (!/^[\s#]/.test(token)) return token;
    }
  };
  const expected = (what: string, found: string): FileError => {
    const line = text.slice(0, at).split("\n").length;
    return new FileError(
      `Cannot use ${path} as ${name} must be lists of numbers: line ${line} has ` +
        `'${found}' where ${what} is expected`,
    );
  };
  /** What stands between brackets, the opening one being read already. */
  const items = <T>(read: (token: string) => T): T[] => {
    const list: T[] = [];
    for (let token = next(); token !== "]"; token = next()) {
      list.push(read(token));
      const behind = next();
      if (behind === "]") break;
      if (behind !== ",") throw expected("a comma", behind);
    }
    return list;
  };
  let token = next();
  while (token === "(" || text[at] === "(") token = next();
  if (token !== "[") throw expected("a list", token);
  return items((row) => {
    if (row !== "[") throw expected("a list", row);
    return items((number) => {
      if (!/\d/.test(number)) throw expected("a number", number);
      return Number(number);
    });
  });
}
