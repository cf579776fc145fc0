/**
 * What the processes that a launcher started need of their collective besides the exchanges.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Collective } from "./collective.ts";
import type { Ending } from "./ending.ts";
import type { RankStatus } from "./state.ts";

/** One process's end; the ranks may be on several machines. */
export interface LaunchedCollective extends Collective {
  /** How this rank tells the others how far it is. */
  readonly status: RankStatus;
  /** What carries the bytes, for people. */
  readonly version: string;
  /** The longest wait for a rank that makes no progress, from now on. */
  set timeoutMs(value: number);
  /** Whether this rank can neither hear the others nor be heard: who speaks cannot be agreed on. */
  readonly isCutOff: boolean;

  /** Tells the others a number beside the exchanges, as soon as they look. */
  announce(note: number): void;

  /** What a rank announced last, as far as this one has heard; 0 before. */
  announced(rank: number): number;

  /** How the ranks end a run that cannot go on, after `abort()` here or by another rank. */
  readonly ending: Ending;

  /**
   * Takes leave together with all others, then closes.
   *
   * @throws {WorkerError} If the others do not come within the time-out.
   */
  leave(): Promise<void>;
}

/** A fault in how this rank was started, which the others do not find in theirs. */
export class RankUsageError extends UsageError {
  override name = "RankUsageError";
}
