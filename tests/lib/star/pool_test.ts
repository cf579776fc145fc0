/**
 * Worker processes: answers, errors and every way to lose one, with real processes.
 *
 * @module
 */
import {
  DeviceError,
  FileError,
  InvariantError,
  KernelError,
  UsageError,
  WorkerError,
} from "../../../lib/errors.ts";
import { type PoolOptions, WorkerPool } from "../../../lib/star/pool.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertMatch,
  assertRejects,
} from "../../helpers/assert.ts";
import type { FakeRequest, FakeTypes } from "../../helpers/fake_rank.ts";
import { isRunning, leftovers, waitUntilEnded } from "../../helpers/processes.ts";

const ENTRY = new URL("../../helpers/fake_rank.ts", import.meta.url);
const PARENT = new URL("../../helpers/fake_parent.ts", import.meta.url);
/** What the project promises after the loss of a rank has become visible. */
const PROMISED_MS = 10_000;
const HANG_MS = 600;
const LONG_MS = 120_000;

function start(
  size: number,
  options: Partial<PoolOptions> = {},
): Promise<WorkerPool<FakeTypes>> {
  return WorkerPool.start<FakeTypes>({ greeting: "hello" }, {
    entry: ENTRY,
    size,
    permissions: [],
    timeoutMs: 20_000,
    ...options,
  });
}

function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

/** The process of a rank. */
function pidOf(pool: WorkerPool<FakeTypes>, rank: number): number {
  const pid = pool.pids[rank];
  assert(pid !== undefined, `there is no rank ${rank}`);
  return pid;
}

/** Checks that nothing is left of a pool that failed. */
function assertNothingLeft(pool: WorkerPool<FakeTypes>): void {
  assertEquals(pool.pids.filter(isRunning), []);
  assertEquals(leftovers("memfd:starx"), []);
}

Deno.test("WorkerPool.run() gives the results by rank, request after request", async () => {
  const pool = await start(3);
  assertEquals(pool.ready.map((ready) => ({ ...ready, pid: 0 })), [
    { greeting: "hello", rank: 0, size: 3, pid: 0 },
    { greeting: "hello", rank: 1, size: 3, pid: 0 },
    { greeting: "hello", rank: 2, size: 3, pid: 0 },
  ]);
  assertEquals(pool.ready.map((ready) => ready.pid), pool.pids);
  for (let i = 0; i < 5; i++) {
    const value = `request ${i} ${"ä".repeat(i * 50_000)}`;
    const results = await pool.run({ kind: "echo", value });
    assertEquals(results, [0, 1, 2].map((rank) => ({ rank, value })));
  }
  // Each round adds 0 + 10 + 20 and three times its number.
  const gathered = await pool.run({ kind: "gather", sample: 0, rounds: 4 });
  assertEquals(gathered.map((result) => result.value), ["138", "138", "138"]);
  await pool.close();
  await pool.close();
  assertNothingLeft(pool);
  await assertRejects(
    () => pool.run({ kind: "echo", value: "" }),
    TypeError,
    "Cannot run a request as the pool is closed",
  );
});

Deno.test("WorkerPool.run() reports progress by rank and in order", async () => {
  await using pool = await start(2);
  const seen: number[][] = [[], []];
  await pool.run({ kind: "report", count: 20 }, {
    onProgress: ({ done }, rank) => seen[rank]?.push(done),
  });
  for (const counts of seen) {
    assert(counts.length > 0, "no progress was reported");
    assertEquals(counts, counts.toSorted((a, b) => a - b));
  }
});

Deno.test("WorkerPool.run() throws what 'onProgress' throws", async () => {
  const pool = await start(1);
  await assertRejects(
    () =>
      pool.run({ kind: "report", count: 20 }, {
        onProgress: () => {
          throw new RangeError("no such bar");
        },
      }),
    RangeError,
    "no such bar",
  );
  assertNothingLeft(pool);
});

Deno.test("WorkerPool.run() refuses a second request at the same time", async () => {
  await using pool = await start(1);
  const first = pool.run({ kind: "compute", sample: 0, durationMs: 100 });
  await assertRejects(
    () => pool.run({ kind: "echo", value: "" }),
    TypeError,
    "Cannot run a request as another one is running",
  );
  await first;
});

Deno.test("WorkerPool.start() throws if an option is wrong", async () => {
  const cases: [Partial<PoolOptions>, string][] = [
    [{ size: 0 }, "'size' must be a positive integer: current value is 0"],
    [{ slotBytes: 1.5 }, "'slotBytes' must be a positive integer: current value is 1.5"],
    [{ timeoutMs: Number.NaN }, "'timeoutMs' must be positive: current value is NaN"],
    [{ startTimeoutMs: 0 }, "'startTimeoutMs' must be positive: current value is 0"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(
      () => start(1, options),
      RangeError,
      `Cannot start workers as ${message}`,
    );
  }
  await assertRejects(
    () => start(1, { permissions: ["--v8-flags=--help"] }),
    TypeError,
    "Cannot start workers as 'permissions' must be permission flags: " +
      "current value is --v8-flags=--help",
  );
  assertEquals(leftovers("memfd:starx"), []);
});

Deno.test("WorkerPool.start() throws the error that a rank's load throws", async () => {
  const init = { greeting: "hello", fail: "Cannot open /no/model: no such folder" };
  const options = { entry: ENTRY, size: 2, permissions: [], timeoutMs: 20_000 };
  const error = await assertRejects(() => WorkerPool.start<FakeTypes>(init, options), FileError);
  assertEquals(error.message, init.fail);
  assertEquals(leftovers("memfd:starx"), []);
});

Deno.test("WorkerPool.start() throws if a child cannot start", async () => {
  const lines: string[] = [];
  const entry = new URL("missing_rank.ts", ENTRY);
  const error = await assertRejects(
    () => start(1, { entry, onLine: (line) => lines.push(line) }),
    WorkerError,
  );
  assertEquals(error.message, "Lost rank 0 in start: its process ended with exit code 1");
  assertMatch(lines.join("\n"), /Module not found/);
});

Deno.test("WorkerPool.start() throws if a child does not join in time", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/idle.ts`, "setInterval(() => {}, 1000);");
    const entry = new URL(`file://${folder}/idle.ts`);
    const error = await assertRejects(
      () => start(2, { entry, timeoutMs: 100, startTimeoutMs: 700 }),
      WorkerError,
    );
    assertMatch(error.message, /^Lost rank \d in start: it made no progress for 700 ms$/);
    assertEquals(error.phase, "start");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const THROWN: [string, new (...args: never[]) => Error][] = [
  ["UsageError", UsageError],
  ["FileError", FileError],
  ["DeviceError", DeviceError],
  ["KernelError", KernelError],
  ["RangeError", RangeError],
  ["InvariantError", InvariantError],
];

Deno.test("WorkerPool.run() throws a rank's error, not those of the ranks that waited", async () => {
  for (const [name, errorClass] of THROWN) {
    const pool = await start(3);
    const message = `Cannot do this in ${name}`;
    const error = await assertRejects(() => pool.run({ kind: "throw", rank: 1, name, message }));
    assertInstanceOf(error, errorClass);
    assertEquals([error.name, error.message], [name, message]);
    assertNothingLeft(pool);
    // The pool stays failed, with the same error.
    await assertRejects(() => pool.run({ kind: "echo", value: "" }), Error, message);
    await pool.close();
  }
});

Deno.test("WorkerPool.run() names a rank that ends by itself and passes its words on", async () => {
  const lines: [string, number][] = [];
  const pool = await start(2, { onLine: (line, rank) => lines.push([line, rank]) });
  const error = await assertRejects(
    () => pool.run({ kind: "crash", rank: 1, message: "out of luck" }),
    WorkerError,
  );
  assertMatch(error.message, /^Lost rank 1 in \S+: its process ended with exit code 70$/);
  assertEquals(lines, [["out of luck", 1]]);
  assertNothingLeft(pool);
});

Deno.test("WorkerPool.run() names a rank whose output is no frame", async () => {
  for (const text of ["Hello", "\0\0\0\0", "\x02\0\0\0{]"]) {
    const pool = await start(2);
    const error = await assertRejects(
      () => pool.run({ kind: "print", rank: 0, text }),
      WorkerError,
    );
    assertMatch(error.message, /^Lost rank 0 in idle: its output is not understood: Cannot read/);
    assertEquals(error.rank, 0);
    assertNothingLeft(pool);
  }
});

/** What a rank is lost in, and what the message must say. */
const LOSSES: { name: string; request: FakeRequest; where: RegExp }[] = [
  {
    name: "computes in phase 1",
    request: { kind: "compute", sample: 3, durationMs: LONG_MS },
    where: /^Lost rank 1 in phase 1 of sample 3: /,
  },
  {
    name: "exchanges in phase 2",
    request: { kind: "gather", sample: 4, rounds: 1e9 },
    where: /^Lost rank 1 in phase 2 of sample 4: /,
  },
  {
    name: "is waited for by the others",
    request: { kind: "wait", sample: 5, rank: 1, durationMs: LONG_MS },
    where: /^Lost rank 1 in phase 1 of sample 5: /,
  },
];

for (const { name, request, where } of LOSSES) {
  Deno.test(`WorkerPool.run() ends all ranks when one is killed while it ${name}`, async () => {
    const pool = await start(3, { timeoutMs: LONG_MS });
    const run = assertRejects(() => pool.run(request), WorkerError);
    await sleep(200);
    const lostMs = performance.now();
    Deno.kill(pidOf(pool, 1), "SIGKILL");
    const error = await run;
    assertLess(performance.now() - lostMs, PROMISED_MS);
    assertMatch(error.message, where);
    assertMatch(error.message, /: its process was ended by SIGKILL$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(pool);
  });

  Deno.test(`WorkerPool.run() ends all ranks when one is stopped while it ${name}`, async () => {
    const pool = await start(3, { timeoutMs: HANG_MS });
    const run = assertRejects(() => pool.run(request), WorkerError);
    await sleep(200);
    const lostMs = performance.now();
    Deno.kill(pidOf(pool, 1), "SIGSTOP");
    const error = await run;
    assertLess(performance.now() - lostMs, HANG_MS + PROMISED_MS);
    assertMatch(error.message, where);
    assertMatch(error.message, /: it made no progress for 600 ms$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(pool);
  });
}

Deno.test("WorkerPool.run() notices a stopped rank that had been waiting", async () => {
  const pool = await start(2, { timeoutMs: HANG_MS });
  const durationMs = 3 * HANG_MS;
  const run = assertRejects(
    () => pool.run({ kind: "wait", sample: 6, rank: 0, durationMs }),
    WorkerError,
  );
  await sleep(200);
  const startMs = performance.now();
  Deno.kill(pidOf(pool, 1), "SIGSTOP");
  const error = await run;
  // As long as rank 0 computes, rank 1 rightly waits.
  assert(performance.now() - startMs > durationMs - 300, "it was taken for hung while it waited");
  assertLess(performance.now() - startMs, durationMs + HANG_MS + PROMISED_MS);
  assertEquals(
    error.message,
    "Lost rank 1 in phase 1 of sample 6: it made no progress for 600 ms",
  );
  assertNothingLeft(pool);
});

Deno.test("WorkerPool.run() has patience with a rank that waits for one that computes", async () => {
  await using pool = await start(2, { timeoutMs: HANG_MS });
  const durationMs = 3 * HANG_MS;
  const results = await pool.run({ kind: "wait", sample: 0, rank: 1, durationMs });
  assertEquals(results.length, 2);
  // Nobody has to get on between requests.
  await sleep(2 * HANG_MS);
  await pool.run({ kind: "gather", sample: 0, rounds: 1 });
});

Deno.test("WorkerPool.run() throws if a rank was killed between requests", async () => {
  const pool = await start(2);
  Deno.kill(pidOf(pool, 0), "SIGKILL");
  await waitUntilEnded(pool.pids, { timeoutMs: PROMISED_MS });
  await assertRejects(
    () => pool.run({ kind: "echo", value: "" }),
    WorkerError,
    "Lost rank 0 in idle: its process was ended by SIGKILL",
  );
  await pool.close();
  assertNothingLeft(pool);
});

Deno.test("WorkerPool.close() ends computing, blocked and stopped ranks", async () => {
  const requests: FakeRequest[] = [
    { kind: "compute", sample: 0, durationMs: LONG_MS },
    { kind: "block", durationMs: LONG_MS },
  ];
  for (const request of requests) {
    const pool = await start(2);
    const run = assertRejects(
      () => pool.run(request),
      WorkerError,
      "Cannot finish the request as the pool was closed",
    );
    await sleep(100);
    Deno.kill(pidOf(pool, 1), "SIGSTOP");
    const startMs = performance.now();
    await pool.close();
    assertLess(performance.now() - startMs, PROMISED_MS);
    await run;
    assertNothingLeft(pool);
  }
});

Deno.test("WorkerPool.kill() ends a running request and all ranks", async () => {
  const pool = await start(2);
  const run = assertRejects(
    () => pool.run({ kind: "compute", sample: 0, durationMs: LONG_MS }),
    WorkerError,
    "Cannot finish the request as the pool was closed",
  );
  await sleep(50);
  pool.kill();
  pool.kill();
  await run;
  await pool.close();
  assertNothingLeft(pool);
});

/** Starts the program that owns a pool, with exactly the permissions that it needs. */
async function startParent(
  entry: URL,
  options: { request: FakeRequest; program?: URL },
): Promise<{ parent: Deno.ChildProcess; pids: number[]; rest: () => Promise<string> }> {
  const { request, program = PARENT } = options;
  const run = `--allow-run=${Deno.execPath()}`;
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--allow-ffi", run, program.href, entry.href, "2"]
      .concat(JSON.stringify(request)),
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the parent ended without a line: ${text}`);
    text += value;
  }
  const end = text.indexOf("\n");
  const rest = async () => {
    let tail = text.slice(end + 1);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return tail;
      tail += value;
    }
  };
  return { parent, pids: JSON.parse(text.slice(0, end)), rest };
}

const ORPHANED: [string, FakeRequest][] = [
  ["computes", { kind: "compute", sample: 0, durationMs: LONG_MS }],
  ["exchanges", { kind: "gather", sample: 0, rounds: 1e9 }],
  ["is in a wait", { kind: "wait", sample: 0, rank: 0, durationMs: LONG_MS }],
  ["is in a blocking foreign call", { kind: "block", durationMs: LONG_MS }],
];

for (const [name, request] of ORPHANED) {
  Deno.test(`serveRank() ends when its parent is killed while it ${name}`, async () => {
    const { parent, pids, rest } = await startParent(ENTRY, { request });
    await sleep(200);
    assertEquals(pids.filter(isRunning).length, 2);
    parent.kill("SIGKILL");
    await waitUntilEnded(pids, { timeoutMs: PROMISED_MS });
    await rest();
    await parent.status;
  });
}

Deno.test("serveRank() leaves it to its parent to end upon SIGINT", async () => {
  await using pool = await start(2);
  const run = pool.run({ kind: "compute", sample: 0, durationMs: 300 });
  await sleep(50);
  for (const pid of pool.pids) Deno.kill(pid, "SIGINT");
  assertEquals((await run).length, 2);
});

Deno.test("WorkerPool starts ranks from a URL, also for a program that was", async () => {
  const root = new URL("../../../", import.meta.url);
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const path = new URL(`.${new URL(request.url).pathname}`, root);
      const headers = { "content-type": "application/typescript" };
      return new Response(await Deno.readTextFile(path), { headers });
    },
  );
  const base = `http://127.0.0.1:${server.addr.port}/tests/helpers/`;
  const request: FakeRequest = { kind: "echo", value: "from afar" };
  const { parent, rest } = await startParent(new URL(`${base}fake_rank.ts`), {
    request,
    program: new URL(`${base}fake_parent.ts`),
  });
  assertEquals(
    JSON.parse(await rest()),
    [0, 1].map((rank) => ({ rank, value: "from afar" })),
  );
  assertEquals((await parent.status).code, 0);
});
