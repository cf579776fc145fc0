/**
 * Every way to lose a rank or its parent, with real processes and signals.
 *
 * @module
 */
import { WorkerError } from "../../../lib/errors.ts";
import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
} from "../../helpers/assert.ts";
import {
  assertNothingLeft,
  ENTRY,
  pidOf,
  PROMISED_MS,
  sleep,
  startParent,
  startPool,
} from "../../helpers/fake_pool.ts";
import type { FakeRequest } from "../../helpers/fake_rank.ts";
import { isRunning, waitUntilEnded } from "../../helpers/processes.ts";

const HANG_MS = 600;
const LONG_MS = 120_000;

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
    const pool = await startPool(3, { timeoutMs: LONG_MS });
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
    const pool = await startPool(3, { timeoutMs: HANG_MS });
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
  const pool = await startPool(2, { timeoutMs: HANG_MS });
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
  await using pool = await startPool(2, { timeoutMs: HANG_MS });
  const durationMs = 3 * HANG_MS;
  const results = await pool.run({ kind: "wait", sample: 0, rank: 1, durationMs });
  assertEquals(results.length, 2);
  // Nobody has to get on between requests.
  await sleep(2 * HANG_MS);
  await pool.run({ kind: "gather", sample: 0, rounds: 1 });
});

Deno.test("WorkerPool.run() throws if a rank was killed between requests", async () => {
  const pool = await startPool(2);
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
    const pool = await startPool(2);
    const run = assertRejects(
      () => pool.run(request),
      DOMException,
      "Cannot finish the request as the team was closed",
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
  const pool = await startPool(2);
  const run = assertRejects(
    () => pool.run({ kind: "compute", sample: 0, durationMs: LONG_MS }),
    DOMException,
    "Cannot finish the request as the team was closed",
  );
  await sleep(50);
  pool.kill();
  pool.kill();
  await run;
  await pool.close();
  assertNothingLeft(pool);
});

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
