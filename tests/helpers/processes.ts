/**
 * What is left of processes.
 *
 * @module
 */

/** Whether a process runs; one that has ended but was not asked for its status does not. */
export function isRunning(pid: number): boolean {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/\) [ZX] /.test(stat);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    // The process ended between opening and reading.
    if (error instanceof Error && error.message.includes("os error 3")) return false;
    throw error;
  }
}

/** Waits until none of the processes runs. */
export async function waitUntilEnded(
  pids: readonly number[],
  options: { timeoutMs: number },
): Promise<void> {
  const endMs = performance.now() + options.timeoutMs;
  while (pids.some(isRunning)) {
    if (performance.now() > endMs) {
      throw new Error(`Still running after ${options.timeoutMs} ms: ${pids.filter(isRunning)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Descriptors and mappings of this process whose name contains a text. */
export function leftovers(text: string): string[] {
  const found: string[] = [];
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    try {
      const target = Deno.readLinkSync(`/proc/self/fd/${entry.name}`);
      if (target.includes(text)) found.push(target);
    } catch (error) {
      // The descriptor with which the folder itself was read.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return [...found, ...maps.filter((line) => line.includes(text))];
}

/** The running child processes of a process, with their command lines. */
export function childrenOf(parent: number): { pid: number; command: string }[] {
  const found: { pid: number; command: string }[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const ppid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (ppid !== parent) continue;
      const command = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      found.push({ pid: Number(name), command });
    } catch (error) {
      // It ended between listing and reading.
      if (!(error instanceof Deno.errors.NotFound) && !String(error).includes("os error 3")) {
        throw error;
      }
    }
  }
  return found;
}
