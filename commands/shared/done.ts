/**
 * How rank 0 tells the program that has had it started by a launcher that it has done its work, in a
 * line that the other one keeps to itself.
 *
 * @module
 */
import { environmentVariable } from "../../lib/environment.ts";

/** The variable with the word to say. */
export const DONE_VARIABLE = "STARX_DONE";

/** The line of a word. */
export function doneLine(token: string): string {
  return `starx is done: ${token}`;
}

/** Says it, where somebody wants to hear it. */
export function tellDone(log: (line: string) => void): void {
  const token = environmentVariable(DONE_VARIABLE);
  if (token !== undefined) log(doneLine(token));
}
