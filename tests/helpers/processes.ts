/**
 * What is left of processes.
 *
 * Deno opens nothing below /proc without all permissions; other programs read it for the tests.
 *
 * @module
 */

/** What a program prints; undefined if it fails. */
function outputOf(program: string, ...args: readonly string[]): string | undefined {
  const { success, stdout } = new Deno.Command(program, { args: [...args] }).outputSync();
  return success ? new TextDecoder().decode(stdout) : undefined;
}

/** Whether a process runs; one that has ended but was not asked for its status does not. */
export function isRunning(pid: number): boolean {
  const stat = outputOf("cat", `/proc/${pid}/stat`);
  return stat !== undefined && !/\) [ZX] /.test(stat);
}

/** Waits until none of the processes runs. */
export async function waitUntilEnded(
  pids: readonly number[],
  options: { timeoutMs: number },
): Promise<void> {
  const endMs = performance.now() + options.timeoutMs;
  // Each look starts a process: whoever ends later is looked at less often.
  for (let pauseMs = 10; pids.some(isRunning); pauseMs = Math.min(250, pauseMs * 1.5)) {
    if (performance.now() > endMs) {
      throw new Error(`Still running after ${options.timeoutMs} ms: ${pids.filter(isRunning)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** How long a process has had a core so far, in ms. */
function coreMs(pid: number): number {
  const stat = outputOf("cat", `/proc/${pid}/stat`);
  if (stat === undefined || !isRunning(pid)) throw new Error(`Process ${pid} has ended`);
  // From the state on, the third field; 14 and 15 are the program's and the system's, in 10 ms.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/**
 * Waits until processes have computed for a while, the first one before the others. On a machine of
 * any speed the time that a program had a core says how far it is.
 *
 * @throws If one of them ends.
 */
export async function waitUntilComputing(
  pids: readonly number[],
  options: { coreMs: number },
): Promise<void> {
  const [first, ...others] = pids;
  for (const group of [first === undefined ? [] : [first], others]) {
    const starts = group.map(coreMs);
    const hasComputed = (pid: number, i: number) =>
      coreMs(pid) - (starts[i] ?? 0) >= options.coreMs;
    while (!group.every(hasComputed)) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Descriptors and mappings of this process whose name contains a text. */
export function leftovers(text: string): string[] {
  const files = outputOf("ls", "-l", `/proc/${Deno.pid}/fd`) ?? "";
  const maps = outputOf("cat", `/proc/${Deno.pid}/maps`) ?? "";
  return `${files}${maps}`.split("\n").filter((line) => line.includes(text));
}

/** The running child processes of a process, with their command lines. */
export function childrenOf(parent: number): { pid: number; command: string }[] {
  // Each thread of a process may have started some.
  const pids = outputOf("sh", "-c", `cat /proc/${parent}/task/*/children`) ?? "";
  return pids.split(/\s+/).filter((pid) => pid !== "").flatMap((pid) => {
    const command = outputOf("cat", `/proc/${pid}/cmdline`)?.replaceAll("\0", " ") ?? "";
    // It ended in the meantime, as the shell above did.
    return command === "" ? [] : [{ pid: Number(pid), command }];
  });
}

/** All running processes below a process. */
export function descendants(pid: number): { pid: number; command: string }[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendants(child.pid)]);
}

/** The numbers of all processes of this machine. */
export function allProcesses(): number[] {
  const names = outputOf("ls", "/proc") ?? "";
  return names.split("\n").filter((name) => /^\d+$/.test(name)).map(Number);
}

/** The environment that a process was started with; empty if it has ended or is somebody else's. */
export function environmentOf(pid: number): Map<string, string> {
  const text = outputOf("cat", `/proc/${pid}/environ`) ?? "";
  return new Map(
    text.split("\0").map((line): [string, string] => {
      const at = line.indexOf("=");
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}
