/**
 * What trials are, whoever makes them.
 *
 * @module
 */
import type { Outcome } from "./tally.ts";

/** How many trials of which kind. */
export interface TortureOptions {
  readonly seed: string;
  readonly first: number;
  /** Undefined for as many as a class is worth. */
  readonly count: number | undefined;
  /** Processes of a run, at most. */
  readonly processes: number;
  readonly print: (line: string) => void;
}

/** A trial that a process of its own makes. */
export interface UserTrial {
  readonly kind: string;
  readonly what: string;
  run(): Promise<Outcome>;
}

/** Draws such trials by their numbers. */
export interface User extends AsyncDisposable {
  draw(index: number): Promise<UserTrial>;
}
