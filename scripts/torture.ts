/**
 * Mistreats the program for as long as one likes, and counts what became of it: signals at random
 * moments, crashes and errors at every file-system call, calls of the library in any order, damaged
 * inputs. Each trial has a seed and can be repeated.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { errorText, EXIT_CODES } from "../lib/errors.ts";
import { CLASSES } from "./torture/classes.ts";
import { Tally } from "./torture/tally.ts";
import type { TortureOptions } from "./torture/trials.ts";
import { serveUser } from "./torture/user.ts";

const HELP = `Mistreats the program and counts what becomes of it.

Usage: deno task torture [flags]

  --class NAME      ${Object.keys(CLASSES).join(", ")} (default: all)
  --count N         trials of each class (default: as many as the class has or is worth)
  --first N         the first trial's number (default 0)
  --seed TEXT       repeats a run or tries another one (default: today)
  --processes N     processes of a run, at most (default 4)

Each line of the counts is a class, or a kind of trials of it: how many were tried, refused in one
line with the right exit code, ended well, were ended by what was done to them; and what must not
happen: an end by a signal that nobody sent, no end for 20 s (longer by the load of each core),
records that are lost, doubled or different from those of an undisturbed run, stack traces, anything
else. Crashes need g++.
`;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        class: { type: "string", multiple: true },
        count: { type: "string" },
        first: { type: "string", default: "0" },
        seed: { type: "string", default: new Date().toISOString().slice(0, 10) },
        processes: { type: "string", default: "4" },
        // What this program starts itself with.
        user: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true) {
      write(HELP);
      return EXIT_CODES.done;
    }
    const numbers = {
      first: wholeNumber("--first", values.first),
      count: values.count === undefined ? undefined : wholeNumber("--count", values.count),
      processes: wholeNumber("--processes", values.processes),
    };
    const options: TortureOptions = {
      ...numbers,
      seed: values.seed,
      print: (line) => write(`${line}\n`),
    };
    if (values.user !== undefined) return await serveUser(values.user, options);
    return await torture(values.class ?? Object.keys(CLASSES), options);
  } catch (error) {
    write(`torture: ${errorText(error)}\n`, Deno.stderr);
    return EXIT_CODES.usage;
  }
}

/** @returns 0 if nothing happened that must not. */
async function torture(names: readonly string[], options: TortureOptions): Promise<number> {
  const { print, seed } = options;
  const unknown = names.find((name) => !Object.hasOwn(CLASSES, name));
  if (unknown !== undefined) {
    throw new Error(`--class: must be one of ${Object.keys(CLASSES).join(", ")}: not ${unknown}`);
  }
  print(`seed ${seed}`);
  const tally = new Tally(print);
  const show = (): void => tally.lines().forEach((line) => print(line));
  // Whoever stops it before its end sees what it counted.
  Deno.addSignalListener("SIGINT", () => {
    show();
    Deno.exit(EXIT_CODES.interrupted);
  });
  for (const name of names) {
    const startMs = performance.now();
    await CLASSES[name]?.(options, tally);
    print(`${name}: ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
  }
  show();
  return tally.hasFaults ? EXIT_CODES.bug : EXIT_CODES.done;
}

function wholeNumber(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Error(`${flag}: must be a whole number: current value is '${text}'`);
}

function write(text: string, to: { writeSync(bytes: Uint8Array): number } = Deno.stdout): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}
