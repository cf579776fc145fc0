/**
 * What Linux tells about processes (proc(5)).
 *
 * @module
 */
import type { Libc } from "./libc.ts";

/** A process. */
export interface ProcessFacts {
  readonly pid: number;
  /** Its main thread's name, at most 15 characters. */
  readonly name: string;
  /** A process that has ended and was not asked for its status is not running. */
  readonly isRunning: boolean;
  readonly parent: number;
  readonly session: number;
  /** Ticks since the system started: with the number, this names one process for ever. */
  readonly startTicks: string;
}

/** Looks at a process; undefined if it is gone. */
export function readProcess(libc: Libc, pid: number): ProcessFacts | undefined {
  const text = libc.readText(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name may hold anything, parentheses as well.
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const [state = "X", parent, , session, ...rest] = text.slice(close + 2).split(" ");
  return {
    pid,
    name: text.slice(open + 1, close),
    isRunning: !/^[ZX]/.test(state),
    parent: Number(parent),
    session: Number(session),
    startTicks: rest[STARTTIME] ?? "",
  };
}

/** `starttime` is field 22; behind state, parent, group and session come 17 others. */
const STARTTIME = 15;
const SIGHUP_BIT = 1n;

/**
 * Whether this process was told to survive the end of its terminal, as `nohup` does. A `deno task`
 * between them hides that it ignores the signal; bash names the command that it has run.
 */
export function ignoresHangup(libc: Libc): boolean {
  const text = libc.readText("/proc/self/status") ?? "";
  const [, mask = "0"] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(text) ?? [];
  const isIgnored = (BigInt(`0x${mask}`) & SIGHUP_BIT) !== 0n;
  return isIgnored || /(^|\/)nohup$/.test(readEnvironment(libc, "self")?.get("_") ?? "");
}

/** How many files this process may have open at once; undefined if that is not told. */
export function openFilesLimit(libc: Libc): number | undefined {
  const text = libc.readText("/proc/self/limits") ?? "";
  const [, soft] = /^Max open files\s+(\d+)/m.exec(text) ?? [];
  return soft === undefined ? undefined : Number(soft);
}

/** The environment that a process was started with; undefined if it is gone or somebody else's. */
export function readEnvironment(
  libc: Libc,
  pid: number | "self",
): ReadonlyMap<string, string> | undefined {
  const text = libc.readText(`/proc/${pid}/environ`);
  if (text === undefined) return undefined;
  return new Map(
    text.split("\0").map((line): [string, string] => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** The numbers of all processes. */
export function listProcesses(libc: Libc): number[] {
  return libc.listNames("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}
