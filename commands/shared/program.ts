/**
 * The program around its subcommands: which one runs, on which processes, and how it ends.
 *
 * @module
 */
import { EXIT_CODES, UsageError } from "../../lib/errors.ts";
import { launchEnvironment, recognizeLaunch } from "../../lib/team/launch.ts";
import { type Command, endingOf } from "./command.ts";
import { checkDenoVersion } from "./deno_version.ts";
import { programHelp } from "./help.ts";
import { Interrupts } from "./interrupts.ts";
import { checkOpenFiles } from "./open_files.ts";
import { ParentWatch } from "./parents.ts";
import type { Screen } from "./screen.ts";
import { VERSION } from "./version.ts";

/** What the program runs with. */
export interface ProgramOptions {
  readonly screen: Screen;
}

/** Goes on when the process that started this one has ended. */
const DETACH = "--detach";

/**
 * Runs the program.
 *
 * @param commands All subcommands, in the order of the help text.
 * @param given The arguments, the subcommand first.
 * @param options Where it writes.
 * @returns The exit code.
 */
export async function runProgram(
  commands: readonly Command[],
  given: readonly string[],
  options: ProgramOptions,
): Promise<number> {
  const { screen } = options;
  const args = given.filter((word) => word !== DETACH);
  using interrupts = new Interrupts(() => {
    // A launcher ends its ranks when one is lost, and speaks for them.
    if (interrupts.isRank) Deno.exit(EXIT_CODES.workerLost);
    screen.log("Interrupted");
    Deno.exit(EXIT_CODES.interrupted);
  });
  interrupts.listen();
  const tell = async (error: unknown): Promise<number> => {
    // What failed did so because of the signal, whose listener ends the process.
    if (interrupts.isInterrupted) return await new Promise<number>(() => {});
    const { code, text } = endingOf(error);
    try {
      screen.log(text);
    } catch {
      // Standard error itself cannot be written: the code is all that can be told.
    }
    return code;
  };
  try {
    const [name, ...rest] = args;
    if (name === undefined || name === "--help" || name === "-h" || name === "help") {
      screen.print(programHelp(commands.map(({ help }) => help), VERSION));
      return name === undefined ? EXIT_CODES.usage : EXIT_CODES.done;
    }
    if (name === "--version") {
      screen.print(`${VERSION}\n`);
      return EXIT_CODES.done;
    }
    checkDenoVersion(Deno.version.deno);
    const isDetached = given.includes(DETACH);
    const run = { args, interrupts, isDetached, tell, ...options };
    return await runCommand(findCommand(commands, name), rest, run);
  } catch (error) {
    return await tell(error);
  }
}

function findCommand(commands: readonly Command[], name: string): Command {
  const command = commands.find(({ help }) => help.name === name);
  if (command !== undefined) return command;
  const names = commands.map(({ help }) => help.name).join(", ");
  throw new UsageError(`'${name}': is not a command: must be one of ${names}`);
}

/** Runs a command, in this process or on all ranks that a launcher started. */
async function runCommand(
  command: Command,
  rest: readonly string[],
  options: ProgramOptions & {
    args: readonly string[];
    interrupts: Interrupts;
    isDetached: boolean;
    tell: (error: unknown) => Promise<number>;
  },
): Promise<number> {
  const { screen, interrupts, args, tell } = options;
  const context = { screen, cleanup: interrupts, args };
  checkOpenFiles();
  const isShared = command.ranks !== "alone";
  const launch = isShared ? recognizeLaunch(launchEnvironment()) : undefined;
  // Ranks end as their launcher says.
  const isDetached = options.isDetached || launch !== undefined;
  using _parents = isDetached ? undefined : ParentWatch.start(() => interrupts.interrupt());
  if (launch === undefined || launch.size === 1) {
    return await command.run(rest, context) ?? EXIT_CODES.done;
  }
  interrupts.isRank = true;
  const { runLaunched } = await import("./launched.ts");
  const exit = (code: number) => Deno.exit(code);
  const isInterrupted = () => interrupts.isInterrupted;
  return await runLaunched(
    { launch, args, flags: command.help.flags, context, exit, isInterrupted, tell },
    (context) => command.run(rest, context),
  );
}
