/**
 * A process that makes one trial after the other, and tells its parent before and behind each: whoever
 * started it sees which one ended it, or holds it up, and goes on behind that one.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { runCalls } from "./calls.ts";
import { openInputs } from "./inputs.ts";
import { hangMs, slowness } from "./programs.ts";
import type { Outcome } from "./tally.ts";
import type { TortureOptions } from "./trials.ts";

/** A line of its output. */
interface UserLine {
  readonly index: number;
  readonly kind: string;
  readonly what: string;
  /** Absent before the trial. */
  readonly outcome?: Outcome;
}

const ENTRY = fileURLToPath(new URL("../torture.ts", import.meta.url));
/** A process also starts, and makes what its trials damage. */
const START_MS = 60_000;
/** Trials of one process: what each leaves in memory would add up. */
const TRIALS = 500;
/** Marks the lines that are for the parent, among whatever else may be printed. */
const MARK = "@trial ";

/** The side of the process that makes the trials. @returns The exit code. */
export async function serveUser(name: string, options: TortureOptions): Promise<number> {
  const { seed, first, count = 1 } = options;
  await using user = name === "inputs" ? await openInputs(seed) : runCalls(seed);
  const say = (line: UserLine) => options.print(`${MARK}${JSON.stringify(line)}`);
  for (let index = first; index < first + count; index++) {
    const trial = await user.draw(index);
    const { kind, what } = trial;
    say({ index, kind, what });
    say({ index, kind, what, outcome: await trial.run() });
  }
  return 0;
}

/** Lets processes make trials of a class, one after the other. */
export async function driveUsers(
  name: string,
  options: {
    seed: string;
    first: number;
    count: number;
    onTrial: (line: Required<UserLine>) => void;
  },
): Promise<void> {
  const { seed, count, onTrial } = options;
  const end = options.first + count;
  for (let first = options.first; first < end;) {
    const part = Math.min(TRIALS, end - first);
    const { last, ended } = await driveOne(name, { seed, first, count: part, onTrial });
    if (ended === undefined) {
      first += part;
      continue;
    }
    // The one under way ended it; without any it did not even start.
    if (last === undefined) throw new Error(`A process of class ${name} ends: ${ended.text}`);
    const { kind, text } = ended;
    onTrial({ ...last, outcome: { how: "ended", faults: [{ kind, text }] } });
    first = last.index + 1;
  }
}

async function driveOne(
  name: string,
  options: {
    seed: string;
    first: number;
    count: number;
    onTrial: (line: Required<UserLine>) => void;
  },
): Promise<{ last?: UserLine; ended?: { kind: "signal" | "hang" | "other"; text: string } }> {
  const { seed, first, count, onTrial } = options;
  const numbers = ["--first", String(first), "--count", String(count)];
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      ...[
        "run",
        "-q",
        "--no-prompt",
        "--no-check",
        "--no-code-cache",
        "--allow-read",
        "--allow-write",
        "--allow-env",
      ],
      ...["--allow-sys", "--allow-ffi", "--allow-run", ENTRY, "--user", name, "--seed", seed],
      ...numbers,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said = new Response(process.stderr).text();
  let last: UserLine | undefined;
  let isHung = false;
  const watch = (ms: number) =>
    setTimeout(() => {
      isHung = true;
      process.kill("SIGKILL");
    }, ms);
  let timer = watch(START_MS * slowness());
  let rest = "";
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter((line) => line.startsWith(MARK))) {
      clearTimeout(timer);
      timer = watch(hangMs());
      const { outcome, ...trial }: UserLine = JSON.parse(line.slice(MARK.length));
      last = outcome === undefined ? trial : undefined;
      if (outcome !== undefined) onTrial({ ...trial, outcome });
    }
  }
  clearTimeout(timer);
  const { code, signal } = await process.status;
  const text = await said;
  if (code === 0 && !isHung) return {};
  const kind = isHung ? "hang" : signal === null ? "other" : "signal";
  const ended = { kind, text: `${signal ?? `exit code ${code}`}: ${text}` } as const;
  return last === undefined ? { ended } : { last, ended };
}
