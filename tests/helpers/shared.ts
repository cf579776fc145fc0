/**
 * Finds the reference material that lies outside the repository.
 *
 * @module
 */

/**
 * The folder of reference data: `STARX_SHARED`, or `../shared` beside the repository.
 *
 * @returns Its path, or `undefined` when there is none; tests that need it are then ignored.
 */
export function sharedFolder(): string | undefined {
  const named = Deno.env.get("STARX_SHARED");
  const path = named ?? new URL("../../../shared", import.meta.url).pathname;
  try {
    return Deno.statSync(path).isDirectory ? path.replace(/\/$/, "") : undefined;
  } catch {
    return undefined;
  }
}
