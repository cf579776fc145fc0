/**
 * Where RULER's source data lies on this machine.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

/**
 * The data folder: the one named, else `STARX_DATA`, else `starx/data` in the user's cache folder
 * (`XDG_CACHE_HOME`, else `~/.cache`). It need not exist.
 *
 * @param explicit What the command line names.
 * @returns Its path.
 * @throws {UsageError} If `explicit` is empty, or nothing tells where the cache folder is.
 */
export function dataFolder(explicit?: string): string {
  if (explicit === "") throw new UsageError("--data_dir: must name a folder: current value is ''");
  const named = explicit ?? variable("STARX_DATA");
  if (named !== undefined) return named.replace(/(?<=.)\/+$/, "");
  const cache = variable("XDG_CACHE_HOME");
  // The XDG specification asks to ignore relative paths.
  if (cache?.startsWith("/")) return `${cache.replace(/\/+$/, "")}/starx/data`;
  const home = variable("HOME");
  if (home !== undefined) return `${home.replace(/\/+$/, "")}/.cache/starx/data`;
  throw new UsageError("--data_dir: a folder is needed as neither STARX_DATA nor HOME is set");
}

function variable(name: string): string | undefined {
  return Deno.env.get(name) || undefined;
}
