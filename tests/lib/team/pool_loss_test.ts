/**
 * Every way to lose a rank or its parent, with real processes and signals.
 *
 * @module
 */
import { WorkerError } from "../../../lib/errors.ts";
import { assertEquals, assertMatch, assertRejects } from "../../helpers/assert.ts";
import {
  assertNothingLeft,
  ENTRY,
  PATIENCE_MS,
  pidOf,
  pidsOf,
  sleep,
  startParent,
  startPool,
  untilWorking,
} from "../../helpers/fake_pool.ts";
import type { FakeRequest } from "../../helpers/fake_rank.ts";
import { isRunning, waitUntilEnded } from "../../helpers/processes.ts";

/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 3_000;
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
    const { results } = await untilWorking(pool, request);
    Deno.kill(pidOf(pool, 1), "SIGKILL");
    const error = await assertRejects(() => results, WorkerError);
    assertMatch(error.message, where);
    assertMatch(error.message, /: its process was ended by SIGKILL$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(pool);
  });

  Deno.test(`WorkerPool.run() ends all ranks when one is stopped while it ${name}`, async () => {
    const pool = await startPool(3, { timeoutMs: HANG_MS });
    const { results } = await untilWorking(pool, request);
    Deno.kill(pidOf(pool, 1), "SIGSTOP");
    const error = await assertRejects(() => results, WorkerError);
    assertMatch(error.message, where);
    assertMatch(error.message, /: it made no progress for 3000 ms$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(pool);
  });
}

Deno.test("WorkerPool.run() notices a stopped rank that had been waiting", async () => {
  const pool = await startPool(2, { timeoutMs: HANG_MS });
  const durationMs = 2 * HANG_MS;
  const request = { kind: "wait", sample: 6, rank: 0, durationMs } as const;
  const { results, done } = await untilWorking(pool, request);
  // It says so in the moment in which it begins to wait.
  while (done[1] !== 1) await sleep(10);
  Deno.kill(pidOf(pool, 1), "SIGSTOP");
  const error = await assertRejects(() => results, WorkerError);
  assertEquals(done[0], 1, "as long as rank 0 computes, rank 1 rightly waits");
  assertEquals(
    error.message,
    "Lost rank 1 in phase 1 of sample 6: it made no progress for 3000 ms",
  );
  assertNothingLeft(pool);
});

Deno.test("WorkerPool.run() has patience with a rank that waits for one that computes", async () => {
  await using pool = await startPool(2, { timeoutMs: HANG_MS });
  const durationMs = 2 * HANG_MS;
  const results = await pool.run({ kind: "wait", sample: 0, rank: 1, durationMs });
  assertEquals(results.length, 2);
  // Nobody has to get on between requests.
  await sleep(HANG_MS + 1_000);
  await pool.run({ kind: "gather", sample: 0, rounds: 1 });
});

Deno.test("WorkerPool.run() throws if a rank was killed between requests", async () => {
  const pool = await startPool(2);
  Deno.kill(pidOf(pool, 0), "SIGKILL");
  await waitUntilEnded(pidsOf(pool), { timeoutMs: PATIENCE_MS });
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
    const { results } = await untilWorking(pool, request);
    const run = assertRejects(
      () => results,
      DOMException,
      "Cannot finish the request as the team was closed",
    );
    Deno.kill(pidOf(pool, 1), "SIGSTOP");
    await pool.close();
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
    await waitUntilEnded(pids, { timeoutMs: PATIENCE_MS });
    await rest();
    await parent.status;
  });
}
