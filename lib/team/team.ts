/**
 * A team of ranks, as whoever gives it requests sees it; `openTeam()` makes one.
 *
 * @module
 */
import type { RankGroup } from "./group.ts";
import type { RankTypes } from "./program.ts";

/** What a request may come with. */
export interface RunOptions<T extends RankTypes> {
  /** Cancels the request: all ranks free what it took, then it fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called for what ranks report on their way; if it throws, the request is cancelled and fails. */
  readonly onProgress?: ((progress: T["progress"], rank: number) => void) | undefined;
}

/** Where the ranks are. */
export type TeamPlace =
  | { readonly kind: "alone" }
  | {
    readonly kind: "children";
    /** The number of ranks. */
    readonly size: number;
    /** How long a rank may make no progress while it has work and waits for nobody. */
    readonly timeoutMs: number;
    /** How long a child may take to start and join. @default {60_000} */
    readonly startTimeoutMs?: number | undefined;
  }
  | {
    readonly kind: "launched";
    /** Seen from rank 0; the others follow by `followLeader()`. */
    readonly group: RankGroup;
    readonly timeoutMs: number;
  };

/** Ranks that compute requests together. */
export interface Team<T extends RankTypes> extends AsyncDisposable {
  /** The number of ranks. */
  readonly size: number;
  /**
   * Settles when the team cannot go on, with the error, whether or not something is asked of it.
   * Absent where this process ends with its team.
   */
  readonly lost?: Promise<Error> | undefined;
  /** What the ranks said when they were loaded, by rank. */
  readonly ready: readonly T["ready"][];
  /**
   * Gives all ranks a request. Several may be in flight: the program decides how many it computes
   * at once, and in which order.
   *
   * @returns Every rank's result, by rank.
   * @throws {RequestError} If the ranks refuse it, or whatever error of their own they refuse it
   * with; they go on.
   * @throws {WorkerError} If a rank is lost: no other request can be run.
   * @throws {TypeError} If the team is closed.
   * @throws The signal's reason, when all ranks have freed what the request took.
   */
  run(request: T["request"], options?: RunOptions<T>): Promise<T["result"][]>;
}

/** The error of a request to a team that is closed. */
export function closedTeamError(): TypeError {
  return new TypeError("Cannot run a request as the team is closed");
}

/** What a request fails with when its team is closed while it runs. */
export function closingReason(): DOMException {
  return new DOMException("Cannot finish the request as the team was closed", "AbortError");
}
