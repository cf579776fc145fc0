/**
 * Where a run can be ended on its way: what computes a sample asks at the borders of its steps, and
 * whoever drives it throws there.
 *
 * @module
 */

/** Asked between steps; both may throw, which ends the run and frees what it took. */
export interface Turns {
  /** A border that all ranks reach, equally often; it ends the run on all of them or on none. */
  turn(): Promise<void>;
  /** Where the next thing that all ranks do together is a turn: it may end the run here alone. */
  checkpoint(): void;
}

/** A run that nobody ends. */
export const NO_TURNS: Turns = {
  turn: () => Promise.resolve(),
  checkpoint() {},
};
