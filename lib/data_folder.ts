/**
 * Where RULER's source data lies on this machine.
 *
 * @module
 */
import { cacheFolder } from "./cache_folder.ts";
import { environmentVariable } from "./environment.ts";
import { UsageError } from "./errors.ts";

/**
 * The data folder: the one named, else `STARX_DATA`, else `starx/data` in the user's cache folder
 * (`XDG_CACHE_HOME`, else `~/.cache`). It need not exist.
 *
 * @param explicit What the caller names.
 * @returns Its path.
 * @throws {UsageError} If `explicit` is empty, or nothing tells where the cache folder is.
 */
export function dataFolder(explicit?: string): string {
  if (explicit === "") {
    throw new UsageError("Cannot find the data as 'sourceDir' must name a folder: it is empty");
  }
  const named = explicit ?? (environmentVariable("STARX_DATA") || undefined);
  if (named !== undefined) return named.replace(/(?<=.)\/+$/, "");
  const cache = cacheFolder();
  if (cache !== undefined) return `${cache}/data`;
  throw new UsageError(
    "Cannot find the data as 'sourceDir' must be given where neither STARX_DATA nor HOME is set",
  );
}
