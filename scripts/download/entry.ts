/**
 * Runs a script that has flags like a subcommand: the same messages, the same exit codes.
 *
 * @module
 */
import { type Command, endingOf } from "../../commands/shared/command.ts";
import { openScreen } from "../../commands/shared/screen.ts";
import { EXIT_CODES } from "../../lib/errors.ts";

/**
 * Runs it with this process's arguments and streams.
 *
 * @param command What it does.
 * @returns The exit code.
 */
export async function runScript(command: Command): Promise<number> {
  const screen = openScreen();
  // What downloads leave behind when they are interrupted needs no cleaning up.
  const cleanup = { onInterrupt: () => ({ [Symbol.dispose]: () => {} }) };
  try {
    return await command.run(Deno.args, { screen, cleanup }) ?? EXIT_CODES.done;
  } catch (error) {
    const { code, text } = endingOf(error);
    screen.log(text);
    return code;
  }
}
