/**
 * How much memory this machine can still give to a run: what is available, or what the control group
 * of the process (a container, a job of a batch system) leaves of its limit.
 *
 * @module
 */
import { Libc } from "../ffi/libc.ts";

/** What there is, in bytes. */
export interface HostMemory {
  readonly totalBytes: number;
  /** What can be used now; files that are only cached count as available. */
  readonly availableBytes: number;
  /** The control group's limit, if it is below the machine's memory. */
  readonly limitBytes?: number;
}

/** Reads a small file; undefined if it is not there. */
type ReadFile = (path: string) => string | undefined;

/**
 * Looks at this machine.
 *
 * @returns Undefined where the program may not ask.
 */
export function hostMemory(): HostMemory | undefined {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  if (state !== "granted") return undefined;
  const { total: totalBytes, available } = Deno.systemMemoryInfo();
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return { totalBytes, availableBytes: available };
  }
  using libc = new Libc();
  const group = groupMemory((path) => libc.readText(path));
  if (group === undefined || group.limitBytes >= totalBytes) {
    return { totalBytes, availableBytes: available };
  }
  const availableBytes = Math.max(0, Math.min(available, group.freeBytes));
  return { totalBytes, availableBytes, limitBytes: group.limitBytes };
}

/**
 * The tightest limit of a process's control groups, and what it leaves.
 *
 * Follows the kernel's documents `cgroup-v2.rst` and `cgroup-v1/memory.rst`.
 *
 * @param read Reads files below `/proc` and `/sys`; tests pass their own.
 */
export function groupMemory(
  read: ReadFile,
): { limitBytes: number; freeBytes: number } | undefined {
  const lines = (read("/proc/self/cgroup") ?? "").split("\n").map((line) => line.split(":"));
  const found: { limitBytes: number; freeBytes: number }[] = [];
  for (const [, controllers, path = "/"] of lines) {
    const isV1 = controllers?.split(",").includes("memory") ?? false;
    if (controllers !== "" && !isV1) continue;
    const root = isV1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    const [limitName, usageName] = isV1
      ? ["memory.limit_in_bytes", "memory.usage_in_bytes"]
      : ["memory.max", "memory.current"];
    for (const folder of foldersUp(path)) {
      const limitBytes = Number(read(`${root}${folder}/${limitName}`) ?? NaN);
      const usedBytes = Number(read(`${root}${folder}/${usageName}`) ?? NaN);
      if (!Number.isFinite(limitBytes) || !Number.isFinite(usedBytes)) continue;
      const cached = cachedBytes(read(`${root}${folder}/memory.stat`) ?? "");
      found.push({ limitBytes, freeBytes: limitBytes - Math.max(0, usedBytes - cached) });
    }
  }
  const [first, ...others] = found;
  if (first === undefined) return undefined;
  return others.reduce((a, b) => b.freeBytes < a.freeBytes ? b : a, first);
}

/** `/a/b`, `/a`, and the root as an empty text: in a container the group's own path is the root. */
function foldersUp(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "" && part !== "..");
  return Array.from(
    { length: parts.length + 1 },
    (_, up) => parts.slice(0, parts.length - up).map((part) => `/${part}`).join(""),
  );
}

/** Pages of files, which the kernel gives up before it ends a process. */
function cachedBytes(stat: string): number {
  let sum = 0;
  for (const line of stat.split("\n")) {
    const [name = "", bytes] = line.split(" ");
    if (/^(total_)?(in)?active_file$/.test(name)) sum = Math.max(sum, 0) + Number(bytes);
  }
  // The first version states the group's own numbers and those of all below it.
  return stat.includes("total_inactive_file") ? sum / 2 : sum;
}
