/**
 * Damaged inputs, given to the program's main function: its output is captured, its exit code is what
 * it returns. Every fiftieth input goes to a process of its own.
 *
 * @module
 */
import { COMMANDS } from "../../commands/all.ts";
import { runProgram } from "../../commands/shared/program.ts";
import { Dice } from "./dice.ts";
import { drawInput, type Input } from "./input_kinds.ts";
import { makeMaterial, writeAll } from "./material.ts";
import { hangMs, startProgram } from "./programs.ts";
import { judge, type Outcome } from "./tally.ts";
import type { User, UserTrial } from "./trials.ts";

/** One of so many is given to a process. */
const REAL = 50;

/** How the program ended. */
export interface Answer {
  readonly code: number;
  readonly stderr: string;
}

/** Runs the program in this process. */
async function runHere(args: readonly string[]): Promise<Answer> {
  const lines: string[] = [];
  const screen = {
    isTerminal: false,
    print: () => {},
    log: (line: string) => void lines.push(line),
    bar: () => {},
  };
  const code = await runProgram(COMMANDS, ["--detach", ...args], { screen });
  return { code, stderr: lines.map((line) => `${line}\n`).join("") };
}

/** The user that gives damaged inputs to the program. */
export async function openInputs(seed: string): Promise<User> {
  const base = await Deno.makeTempDir({ prefix: "starx-torture-" });
  const before = Deno.cwd();
  const enter = async (): Promise<string> => {
    Deno.chdir(base);
    await Deno.remove(`${base}/a`, { recursive: true }).catch(() => {});
    // Words like `..` stay below the base.
    const folder = `${base}/a/b/c`;
    await Deno.mkdir(folder, { recursive: true });
    Deno.chdir(folder);
    return folder;
  };
  await enter();
  const material = await makeMaterial(runHere);
  return {
    draw: async (index): Promise<UserTrial> => {
      const folder = await enter();
      const input = drawInput(new Dice(`${seed} inputs ${index}`), { index, material });
      await writeAll(folder, input.files);
      // No process can be given a word with a zero in it.
      const isReal = index % REAL === REAL - 1 && !input.args.some((word) => word.includes("\0"));
      const { kind, what, args } = input;
      return {
        kind: isReal ? `${kind}, in a process` : kind,
        what: `${what}: ${args.join(" ").slice(0, 300)}`,
        run: () => isReal ? runThere(input, folder) : runOne(input, folder),
      };
    },
    [Symbol.asyncDispose]: async () => {
      Deno.chdir(before);
      await Deno.remove(base, { recursive: true });
    },
  };
}

async function runOne(input: Input, folder: string): Promise<Outcome> {
  try {
    const answer = await runHere(input.args);
    return await finish(input, { folder, ...answer, signal: null, isLate: false });
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    return { how: "ended", faults: [{ kind: "trace", text }] };
  }
}

async function runThere(input: Input, folder: string): Promise<Outcome> {
  const ended = await startProgram(input.args, { cwd: folder, timeoutMs: hangMs() }).ended;
  return await finish(input, { folder, ...ended });
}

async function finish(
  input: Input,
  ended: Answer & { folder: string; signal: string | null; isLate: boolean },
): Promise<Outcome> {
  const { how, faults } = judge(ended);
  const more = await input.check?.(ended.folder, ended.code) ?? [];
  return { how, faults: [...faults, ...more] };
}
