/**
 * The one way to have ranks: alone in this process, as child processes, or as the processes that a
 * launcher started with this one.
 *
 * @module
 */
import { openAlone, openLaunched } from "./leader.ts";
import { ChildTeam } from "./child_team.ts";
import type { RankProgram, RankTypes } from "./program.ts";
import type { Team, TeamPlace } from "./team.ts";

/**
 * Loads a program on ranks. Disposal of the team cancels what is in flight and frees everything.
 *
 * @param init Given to every rank's `load()`.
 * @throws What `load()` throws, as the same class; {WorkerError} if a rank is lost.
 */
export async function openTeam<T extends RankTypes>(
  program: RankProgram<T>,
  init: T["init"],
  place: TeamPlace,
): Promise<Team<T>> {
  switch (place.kind) {
    case "alone":
      return await openAlone(program, init);
    case "launched":
      return await openLaunched(program, init, place);
    case "children": {
      const { entry, permissions } = program;
      const { size, timeoutMs, startTimeoutMs } = place;
      const env = program.environment?.(init, size);
      const rankPermissions = program.rankPermissions?.(init);
      const times = { timeoutMs, startTimeoutMs };
      const options = { entry, permissions, rankPermissions, size, ...times, env };
      return await ChildTeam.start<T>(init, options);
    }
  }
}
