/**
 * The user's cache folder.
 *
 * @module
 */
import { environmentVariable } from "./environment.ts";

/**
 * The folder for what can be fetched again: `starx` in `XDG_CACHE_HOME`, else in `~/.cache`.
 *
 * @returns Its path, which need not exist; undefined if the environment names none.
 */
export function cacheFolder(): string | undefined {
  const cache = environmentVariable("XDG_CACHE_HOME") ?? "";
  // The XDG specification asks to ignore relative paths.
  if (cache.startsWith("/")) return `${withoutSlash(cache)}/starx`;
  const home = environmentVariable("HOME") ?? "";
  return home === "" ? undefined : `${withoutSlash(home)}/.cache/starx`;
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, "");
}
