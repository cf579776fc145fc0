/**
 * This machine's name.
 *
 * @module
 */

/** The name, or `unknown` where the program may not ask for it. */
export function hostName(): string {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "hostname" });
  return state === "granted" ? Deno.hostname() : "unknown";
}
