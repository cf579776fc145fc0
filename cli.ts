/**
 * The program: `cli.ts COMMAND [flags]`. Its commands are those of `commands/all.ts`.
 *
 * @module
 */
import { COMMANDS } from "./commands/all.ts";
import { runProgram } from "./commands/shared/program.ts";
import { openScreen } from "./commands/shared/screen.ts";

if (import.meta.main) {
  Deno.exit(await runProgram(COMMANDS, Deno.args, { screen: openScreen() }));
}
