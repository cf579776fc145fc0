/**
 * How a run on a rank is driven from outside.
 *
 * @module
 */
import { NO_TURNS, type Turns } from "../star/turns.ts";

/** What a run asks whoever drives it. */
export interface RunHooks extends Turns {
  /** Does what may fail on one rank only; all ranks call it, and it fails on all or on none. */
  agree<R extends Disposable | undefined>(prepare: () => R | Promise<R>): Promise<R>;
}

/** A run that nobody ends, on a rank that asks nobody. */
export const NO_HOOKS: RunHooks = { ...NO_TURNS, agree: async (prepare) => await prepare() };
