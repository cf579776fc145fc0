/**
 * Environment variables, as far as this process may read them.
 *
 * @module
 */

/** Whether a variable may be read. Asking for one that is not granted would stop at a question. */
export function mayReadVariable(variable: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable }).state === "granted";
}

/** A variable's value; undefined where it is not set, or may not be read. */
export function environmentVariable(variable: string): string | undefined {
  return mayReadVariable(variable) ? Deno.env.get(variable) : undefined;
}
