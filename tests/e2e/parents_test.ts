/**
 * The program and the processes that started it: it ends with a `deno task` that is killed, and its
 * workers with it, unless it was detached on purpose.
 *
 * @module
 */
import { wrappersAbove } from "../../commands/shared/parents.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { descendants, isRunning, waitUntilEnded } from "../helpers/processes.ts";
import { MODEL } from "../helpers/prompts.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
/** Processes that do not end by themselves are waited for no longer. */
const PATIENCE_MS = 60_000;
/** Many looks of a program after its parents. */
const LOOKS_MS = 3_000;

/** Starts RULER by `deno task`, which runs for long, on two processes. */
async function startTask(
  folder: string,
  options: { wrapper?: readonly string[]; flags?: readonly string[] },
) {
  const task = new Deno.Command("env", {
    args: [
      // The tests themselves may run under nohup, which is inherited.
      ...["--default-signal=HUP", "_=env", ...options.wrapper ?? [], Deno.execPath()],
      ...["task", "--cwd", ROOT, "ruler", "-n", "tiny", "-p", MODEL, "-pc", "llama3", "-a", "star"],
      ...["-bs", "256", "-np", "2", "-l", "4096", "-t", "niah_single_1", "--device", "cpu"],
      ...["--num_samples_per_task", "400", "--output_dir", folder, ...options.flags ?? []],
    ],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let text = "";
  const reader = task.stderr.pipeThrough(new TextDecoderStream()).getReader();
  while (!text.includes("Model:")) {
    const { value, done } = await reader.read();
    assert(!done, text);
    text += value;
  }
  const drained = (async () => {
    while (!(await reader.read()).done);
  })();
  const below = descendants(task.pid);
  const pids = below.filter(({ command }) => / run /.test(command)).map(({ pid }) => pid);
  assertEquals(pids.length, 3, "the program and two workers");
  // A shell may stand above it.
  const taskPid = below.find(({ command }) => / task /.test(command))?.pid ?? task.pid;
  const kill = async (victim: "task" | "wrapper" = "task") => {
    Deno.kill(victim === "task" ? taskPid : task.pid, "SIGKILL");
    await task.status;
  };
  return { kill, pids, drained };
}

Deno.test("a program and its workers end when their deno task is killed", () =>
  inFolder({}, async (folder) => {
    const { kill, pids, drained } = await startTask(folder, {});
    await kill();
    await waitUntilEnded(pids, { timeoutMs: PATIENCE_MS });
    await drained;
  }));

for (
  const [name, options] of [
    ["--detach", { flags: ["--detach"] }],
    ["nohup", { wrapper: ["bash", "-c", 'nohup "$@"', "bash"] }],
  ] as const
) {
  Deno.test(`a program that was detached by ${name} goes on without its deno task`, () =>
    inFolder({}, async (folder) => {
      const { kill, pids, drained } = await startTask(folder, options);
      await kill();
      await new Promise((resolve) => setTimeout(resolve, LOOKS_MS));
      assertEquals(pids.filter(isRunning), pids);
      for (const pid of pids) Deno.kill(pid, "SIGTERM");
      await waitUntilEnded(pids, { timeoutMs: PATIENCE_MS });
      await drained;
    }));
}

/** As npx does: node starts another program and waits for its end. */
const NODE = "require('child_process').spawn(process.argv[1], process.argv.slice(2), " +
  "{ stdio: 'inherit' })";
const hasNode = await new Deno.Command("node", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "a program and its workers end when the node process above their deno task is killed",
  ignore: !hasNode,
  fn: () =>
    inFolder({}, async (folder) => {
      const { kill, pids, drained } = await startTask(folder, { wrapper: ["node", "-e", NODE] });
      await kill("wrapper");
      await waitUntilEnded(pids, { timeoutMs: PATIENCE_MS });
      await drained;
    }),
});

Deno.test("a program in a session of its own goes on without the shell that started it", () =>
  inFolder({}, async (folder) => {
    const wrapper = ["bash", "-c", 'setsid --wait "$@"; true', "bash"];
    const { kill, pids, drained } = await startTask(folder, { wrapper });
    await kill("wrapper");
    await new Promise((resolve) => setTimeout(resolve, LOOKS_MS));
    assertEquals(pids.filter(isRunning), pids);
    for (const pid of pids) Deno.kill(pid, "SIGTERM");
    await waitUntilEnded(pids, { timeoutMs: PATIENCE_MS });
    await drained;
  }));

Deno.test("wrappersAbove() stops at a user's shell, a launcher and another session", () => {
  const table = (rows: readonly [name: string, session: number][]) => (pid: number) => {
    const row = rows[pid - 1];
    if (row === undefined) return undefined;
    const [name, session] = row;
    return { pid, name, session, parent: pid + 1, isRunning: true, startTicks: String(pid) };
  };
  const names = (rows: readonly [string, number][]) =>
    wrappersAbove(1, table(rows)).map(({ name }) => name);
  const task: [string, number][] = [["deno", 9], ["deno", 9]];
  assertEquals(names([["deno", 9], ["bash", 9], ["sshd", 1]]), ["deno"]);
  assertEquals(names([...task, ["bash", 9], ["sshd", 1]]), ["deno", "deno"]);
  assertEquals(names([...task, ["sh", 9], ["npm exec deno@2", 9], ["bash", 9]]), [
    ...["deno", "deno", "sh", "npm exec deno@2"],
  ]);
  assertEquals(names([...task, ["bash", 9], ["node", 1]]), ["deno", "deno"]);
  assertEquals(names([["deno", 9], ["orted", 9], ["deno", 9]]), ["deno"]);
  assertEquals(names([["deno", 9], ["deno", 1]]), ["deno"]);
});
