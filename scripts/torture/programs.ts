/**
 * The program as a process: started, watched, and looked at together with all that it started.
 *
 * @module
 */
import { fileURLToPath } from "node:url";

/** The repository's folder, its command line, and the model that comes with it. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** The command line's entry. */
export const CLI = `${ROOT}cli.ts`;
/** The model of the repository. */
export const TINY = `${ROOT}models/starx-tiny`;

/** What ends by itself does so within this time on an idle machine. */
const HANG_MS = 20_000;
/** A run that is not disturbed. */
const WHOLE_MS = 60_000;

/** How much longer everything takes as others use the machine, too. */
export function slowness(): number {
  const [load = 0] = Deno.loadavg();
  return Math.max(1, load / navigator.hardwareConcurrency);
}

/** A process that takes longer hangs; on a busy machine it has as much more time. */
export function hangMs(): number {
  return HANG_MS * slowness();
}

/** A whole run has ended so long after its start. */
export function wholeMs(): number {
  return WHOLE_MS * slowness();
}

/** How a process ended. */
export interface Ended {
  readonly code: number;
  /** The signal that ended it; null if it ended by itself. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Whether it had to be killed as it did not end within its limit. */
  readonly isLate: boolean;
}

/** A process under way. */
export interface Running {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** Whether it has ended. */
  isOver: boolean;
  /** Kills it, and all below it, unless it ends within this time from now on. */
  limit(timeoutMs: number): void;
}

/** How to start the program. */
export interface StartOptions {
  readonly cwd: string;
  readonly timeoutMs: number;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the program with the permissions of its tasks. */
export function startProgram(args: readonly string[], options: StartOptions): Running {
  const { cwd, timeoutMs, env = {} } = options;
  // Deno itself hands variables of the loader on to nobody.
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const process = new Deno.Command("env", {
    args: [
      ...variables,
      ...[Deno.execPath(), "run", "-q", "--no-prompt", "--no-code-cache", "--config"],
      `${ROOT}deno.json`,
      ...["-P=program", CLI, ...args],
    ],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isLate = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = (timeoutMs: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      isLate = true;
      for (const pid of [process.pid, ...family(process.pid)]) send(pid, "SIGKILL");
    }, timeoutMs);
  };
  limit(timeoutMs);
  const texts = Promise.all([
    new Response(process.stdout).text(),
    new Response(process.stderr).text(),
  ]);
  const wait = async (): Promise<Ended> => {
    const { code, signal } = await process.status;
    running.isOver = true;
    clearTimeout(timer);
    const [stdout, stderr] = await texts;
    return { code, signal, stdout, stderr, isLate };
  };
  const running: Running = { pid: process.pid, isOver: false, limit, ended: wait() };
  return running;
}

/** What a program prints; empty if it fails. */
function outputOf(program: string, ...args: readonly string[]): string {
  const { success, stdout } = new Deno.Command(program, { args: [...args], stderr: "null" })
    .outputSync();
  return success ? new TextDecoder().decode(stdout) : "";
}

/** All processes below a process. */
export function family(pid: number): number[] {
  // Deno reads nothing below /proc without all permissions; each thread may have started some.
  const script =
    'all="$0"; new="$0"; while [ -n "$new" ]; do next=""; for p in $new; do next="$next $(cat ' +
    '/proc/$p/task/*/children 2>/dev/null)"; done; new=$(echo $next); all="$all $new"; done; echo $all';
  const pids = outputOf("sh", "-c", script, String(pid)).trim().split(/\s+/).map(Number);
  return pids.filter((other) => other > 0 && other !== pid);
}

/** Those processes that run; one that was not asked for its status does not. */
export function stillRunning(pids: readonly number[]): number[] {
  const script = 'for p in "$@"; do cat /proc/$p/stat 2>/dev/null; done; true';
  const lines = outputOf("sh", "-c", script, "sh", ...pids.map(String)).split("\n");
  return lines.filter((line) => line !== "" && !/\) [ZX] /.test(line)).map((line) =>
    Number(line.split(" ")[0])
  );
}

/** Sends a signal, if there is somebody left to get it. @returns Whether there was. */
export function send(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Waits. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
