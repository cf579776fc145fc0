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
  startTeam,
  untilWorking,
} from "../../helpers/fake_team.ts";
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
  Deno.test(`ChildTeam.run() ends all ranks when one is killed while it ${name}`, async () => {
    const team = await startTeam(3, { timeoutMs: LONG_MS });
    const { results } = await untilWorking(team, request);
    Deno.kill(pidOf(team, 1), "SIGKILL");
    const error = await assertRejects(() => results, WorkerError);
    assertMatch(error.message, where);
    assertMatch(error.message, /: its process was ended by SIGKILL$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(team);
  });

  Deno.test(`ChildTeam.run() ends all ranks when one is stopped while it ${name}`, async () => {
    const team = await startTeam(3, { timeoutMs: HANG_MS });
    const { results } = await untilWorking(team, request);
    Deno.kill(pidOf(team, 1), "SIGSTOP");
    const error = await assertRejects(() => results, WorkerError);
    assertMatch(error.message, where);
    assertMatch(error.message, /: it made no progress for 3000 ms$/);
    assertEquals(error.rank, 1);
    assertNothingLeft(team);
  });
}

Deno.test("ChildTeam.run() notices a stopped rank that had been waiting", async () => {
  const team = await startTeam(2, { timeoutMs: HANG_MS });
  const durationMs = 2 * HANG_MS;
  const request = { kind: "wait", sample: 6, rank: 0, durationMs } as const;
  const { results, done } = await untilWorking(team, request);
  // It says so in the moment in which it begins to wait.
  while (done[1] !== 1) await sleep(10);
  Deno.kill(pidOf(team, 1), "SIGSTOP");
  const error = await assertRejects(() => results, WorkerError);
  assertEquals(done[0], 1, "as long as rank 0 computes, rank 1 rightly waits");
  assertEquals(
    error.message,
    "Lost rank 1 in phase 1 of sample 6: it made no progress for 3000 ms",
  );
  assertNothingLeft(team);
});

Deno.test("ChildTeam.run() has patience with a rank that waits for one that computes", async () => {
  await using team = await startTeam(2, { timeoutMs: HANG_MS });
  const durationMs = 2 * HANG_MS;
  const results = await team.run({ kind: "wait", sample: 0, rank: 1, durationMs });
  assertEquals(results.length, 2);
  // Nobody has to get on between requests.
  await sleep(HANG_MS + 1_000);
  await team.run({ kind: "gather", sample: 0, rounds: 1 });
});

Deno.test("ChildTeam.run() throws if a rank was killed between requests", async () => {
  const team = await startTeam(2);
  Deno.kill(pidOf(team, 0), "SIGKILL");
  await waitUntilEnded(pidsOf(team), { timeoutMs: PATIENCE_MS });
  await assertRejects(
    () => team.run({ kind: "echo", value: "" }),
    WorkerError,
    "Lost rank 0 in idle: its process was ended by SIGKILL",
  );
  await team.close();
  assertNothingLeft(team);
});

Deno.test("ChildTeam.close() ends computing, blocked and stopped ranks", async () => {
  const requests: FakeRequest[] = [
    { kind: "compute", sample: 0, durationMs: LONG_MS },
    { kind: "block", durationMs: LONG_MS },
  ];
  for (const request of requests) {
    const team = await startTeam(2);
    const { results } = await untilWorking(team, request);
    const run = assertRejects(
      () => results,
      DOMException,
      "Cannot finish the request as the team was closed",
    );
    Deno.kill(pidOf(team, 1), "SIGSTOP");
    await team.close();
    await run;
    assertNothingLeft(team);
  }
});

Deno.test("ChildTeam.kill() ends a running request and all ranks", async () => {
  const team = await startTeam(2);
  const run = assertRejects(
    () => team.run({ kind: "compute", sample: 0, durationMs: LONG_MS }),
    DOMException,
    "Cannot finish the request as the team was closed",
  );
  await sleep(50);
  team.kill();
  team.kill();
  await run;
  await team.close();
  assertNothingLeft(team);
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
