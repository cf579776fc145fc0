/**
 * What a subcommand is: its help, its flags and what it runs; and how a process ends with it.
 *
 * @module
 */
import {
  DeviceError,
  errorText,
  EXIT_CODES,
  FileError,
  RequestError,
  UsageError,
  WorkerError,
} from "../../lib/errors.ts";
import { withFlagNames } from "./engine_flags.ts";
import { expandNames, type FlagTable, type FlagValues, parseFlags } from "./flags.ts";
import { type CommandHelp, commandHelp } from "./help.ts";
import type { CommandContext } from "../infer/infer.ts";

/**
 * How the ranks that a launcher started share a command: the `first` runs it, and the others compute
 * with it; or all do it `alone`, as if there were no others.
 */
export type CommandRanks = "first" | "alone";

/** A subcommand whose flags are typed. */
export interface CommandSpec<T extends FlagTable> extends CommandHelp {
  readonly flags: T;
  /** See {@linkcode Command}; without it each rank runs the command for itself. */
  readonly ranks?: CommandRanks;
  /** The flag that words before the first flag belong to. */
  readonly positionals?: string;
  readonly run: (values: FlagValues<T>, context: CommandContext) => Promise<number | void>;
}

/** A subcommand as the dispatcher sees it. */
export interface Command {
  readonly help: CommandHelp;
  readonly ranks: CommandRanks;
  /**
   * Runs it with the arguments behind its name.
   *
   * @returns The exit code, where other processes did the work.
   */
  readonly run: (args: readonly string[], context: CommandContext) => Promise<number | void>;
}

/** Makes a subcommand. */
export function defineCommand<T extends FlagTable>(spec: CommandSpec<T>): Command {
  const { name, flags, demoUnless, positionals } = spec;
  const options = { command: name, ...(demoUnless === undefined ? {} : { demoUnless }) };
  return {
    help: spec,
    ranks: spec.ranks ?? "alone",
    run: async (args, context) => {
      if (args.includes("-h") || expandNames(flags, args).includes("--help")) {
        return context.screen.print(commandHelp(spec));
      }
      const [first] = args;
      const hasWords = positionals !== undefined && first !== undefined && !first.startsWith("-");
      const all = hasWords ? [`--${positionals}`, ...args] : args;
      return await spec.run(parseFlags(flags, all, options), context);
    },
  };
}

/** How a process ends with an error. */
export interface Ending {
  readonly code: number;
  /** For standard error; one line unless it is a bug. */
  readonly text: string;
}

/** The exit code of an error, and what is said about it. */
export function endingOf(error: unknown): Ending {
  const code = exitCodeOf(error);
  if (code !== EXIT_CODES.bug) {
    const line = withFlagNames(errorText(error)).replaceAll(/\s*\n\s*/g, " ");
    // What a file holds may be quoted: no terminal is to obey it.
    const text = line.replaceAll(/\p{Cc}/gu, "\ufffd");
    return { code, text: `error: ${text}` };
  }
  const stack = error instanceof Error ? error.stack ?? error.message : String(error);
  return { code, text: `A bug in this program: ${stack}` };
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_CODES.usage;
  // What a file asks for may be what the model cannot take.
  if (error instanceof FileError || error instanceof RequestError) return EXIT_CODES.file;
  if (error instanceof SyntaxError) return EXIT_CODES.file;
  // Only the environment is read as text by Deno itself: variables that are not UTF-8.
  if (error instanceof Deno.errors.InvalidData) return EXIT_CODES.usage;
  if (error instanceof DeviceError) return EXIT_CODES.device;
  if (error instanceof WorkerError) return EXIT_CODES.workerLost;
  return EXIT_CODES.bug;
}
