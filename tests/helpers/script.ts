/**
 * Runs a script as a child process.
 *
 * @module
 */
import { ROOT } from "./sources.ts";

/** How it ended. */
export interface ScriptOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs it with network on loopback only.
 *
 * @param path Below the repository's root.
 * @param args Its arguments.
 * @param options Variables of its environment beside `HOME`, and further permissions.
 */
export async function runScript(
  path: string,
  args: readonly string[],
  options: { env: Readonly<Record<string, string>>; permissions?: readonly string[] },
): Promise<ScriptOutput> {
  const permissions = [
    ...["--no-prompt", "--allow-read", "--allow-write", "--allow-env", "--allow-net=127.0.0.1"],
    ...options.permissions ?? [],
  ];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, new URL(path, ROOT).pathname, ...args],
    clearEnv: true,
    env: { HOME: "/nowhere", DENO_DIR: denoFolder(), NO_COLOR: "1", ...options.env },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Where a child finds what is cached of third-party packages. */
export function denoFolder(): string {
  const home = Deno.env.get("HOME") ?? "";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  return Deno.env.get("DENO_DIR") ?? `${cache}/deno`;
}
