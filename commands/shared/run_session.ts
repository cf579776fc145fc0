/**
 * What a session that adds results is: when, where, by which command.
 *
 * @module
 */
import { hostName } from "../../lib/host_name.ts";
import { currentCommit } from "./commit.ts";
import type { RunSession } from "./run_record.ts";

/**
 * This session.
 *
 * @param args The command line, the subcommand first.
 * @param device The device as the engine describes it.
 */
export async function currentSession(
  args: readonly string[],
  device: string,
): Promise<RunSession> {
  const commit = await currentCommit();
  return {
    date: new Date().toISOString(),
    command: args.join(" "),
    ...(commit === undefined ? {} : { commit }),
    deno: Deno.version.deno,
    host: hostName(),
    device,
  };
}
