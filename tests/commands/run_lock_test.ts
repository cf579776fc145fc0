import { RunLock } from "../../commands/shared/run_lock.ts";
import { UsageError } from "../../lib/errors.ts";
import { hostName } from "../../lib/host_name.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const WHAT = { what: "--output_path" };
/** A file system without locks. */
const NO_LOCKS = {
  ...WHAT,
  tryLock: () => Promise.reject(new Error("Operation not supported")),
};

function holder(changes: Record<string, unknown>): string {
  const started = "2026-01-02T03:04:05.000Z";
  return `${JSON.stringify({ host: hostName(), pid: Deno.pid, started, ...changes })}\n`;
}

/** A process that has ended. */
async function endedPid(): Promise<number> {
  const child = new Deno.Command("true").spawn();
  await child.status;
  return child.pid;
}

Deno.test("RunLock.take() refuses a second holder and names the first", async () => {
  await inFolder({}, async (folder) => {
    const path = `${folder}/a.lock`;
    {
      await using _first = await RunLock.take(path, WHAT);
      const { message } = await assertRejects(() => RunLock.take(path, WHAT), UsageError);
      assert(
        message.startsWith(
          `--output_path: is in use by another run: process ${Deno.pid} on ${hostName()}, started `,
        ),
        message,
      );
    }
    assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
    await using _again = await RunLock.take(path, WHAT);
  });
});

Deno.test("RunLock.take() waits as long as it is told to", async () => {
  await inFolder({}, async (folder) => {
    const path = `${folder}/a.lock`;
    const first = await RunLock.take(path, WHAT);
    const second = RunLock.take(path, { ...WHAT, timeoutMs: 60_000 });
    await first[Symbol.asyncDispose]();
    await (await second)[Symbol.asyncDispose]();
  });
});

Deno.test("RunLock.take() takes a lock whose process was killed", async () => {
  await inFolder({}, async (folder) => {
    const path = `${folder}/a.lock`;
    const script = `
      const file = await Deno.open(${JSON.stringify(path)}, { write: true, create: true });
      console.log(await file.tryLock(true));
      setInterval(() => {}, 1000);`;
    await Deno.writeTextFile(`${folder}/hold.ts`, script);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-lock", `${folder}/hold.ts`],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "true\n");
    await assertRejects(() => RunLock.take(path, WHAT), UsageError, "another process");
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    await using _lock = await RunLock.take(path, WHAT);
  });
});

Deno.test("RunLock.take() goes by the file where a file system has no locks", async () => {
  const cases: readonly (readonly [text: string, isFree: boolean])[] = [
    [holder({ pid: await endedPid() }), true],
    [holder({}), false],
    // Whether a process of another machine has ended cannot be known.
    [holder({ host: "elsewhere", pid: await endedPid() }), false],
    ["{", true],
  ];
  for (const [text, isFree] of cases) {
    await inFolder({ "a.lock": text }, async (folder) => {
      const path = `${folder}/a.lock`;
      if (isFree) {
        await using _lock = await RunLock.take(path, NO_LOCKS);
        await assertRejects(() => RunLock.take(path, NO_LOCKS), UsageError, `${Deno.pid}`);
      } else {
        await assertRejects(() => RunLock.take(path, NO_LOCKS), UsageError, "is in use");
      }
    });
  }
});
