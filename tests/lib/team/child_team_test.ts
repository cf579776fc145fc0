/**
 * Worker processes: answers, progress and errors, with real processes.
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
import { ChildTeam, type ChildTeamOptions } from "../../../lib/team/child_team.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
} from "../../helpers/assert.ts";
import {
  assertNothingLeft,
  ENTRY,
  pidsOf,
  sleep,
  startParent,
  startTeam,
} from "../../helpers/fake_team.ts";
import type { FakeRequest, FakeTypes } from "../../helpers/fake_rank.ts";
import { isRunning, leftovers } from "../../helpers/processes.ts";

Deno.test("ChildTeam.run() gives the results by rank, request after request", async () => {
  const team = await startTeam(3);
  assertEquals(team.ready.map((ready) => ({ ...ready, pid: 0 })), [
    { greeting: "hello", rank: 0, size: 3, pid: 0 },
    { greeting: "hello", rank: 1, size: 3, pid: 0 },
    { greeting: "hello", rank: 2, size: 3, pid: 0 },
  ]);
  assertEquals(new Set(pidsOf(team).filter(isRunning)).size, 3);
  for (let i = 0; i < 5; i++) {
    const value = `request ${i} ${"ä".repeat(i * 50_000)}`;
    const results = await team.run({ kind: "echo", value });
    assertEquals(results, [0, 1, 2].map((rank) => ({ rank, value })));
  }
  // Each round adds 0 + 10 + 20 and three times its number.
  const gathered = await team.run({ kind: "gather", sample: 0, rounds: 4 });
  assertEquals(gathered.map((result) => result.value), ["138", "138", "138"]);
  await team.close();
  await team.close();
  assertNothingLeft(team);
  await assertRejects(
    () => team.run({ kind: "echo", value: "" }),
    TypeError,
    "Cannot run a request as the team is closed",
  );
});

Deno.test("ChildTeam.run() reports progress by rank and in order", async () => {
  await using team = await startTeam(2);
  const seen: number[][] = [[], []];
  await team.run({ kind: "report", count: 20 }, {
    onProgress: ({ done }, rank) => seen[rank]?.push(done),
  });
  for (const counts of seen) {
    assert(counts.length > 0, "no progress was reported");
    assertEquals(counts, counts.toSorted((a, b) => a - b));
  }
});

Deno.test("ChildTeam.run() cancels a request whose 'onProgress' throws, and goes on", async () => {
  await using team = await startTeam(2);
  await assertRejects(
    () =>
      team.run({ kind: "turns", sample: 0, count: 1e6 }, {
        onProgress: () => {
          throw new RangeError("no such bar");
        },
      }),
    RangeError,
    "no such bar",
  );
  assertEquals((await team.run({ kind: "echo", value: "next" })).map(({ value }) => value), [
    "next",
    "next",
  ]);
});

Deno.test("ChildTeam.start() throws if an option is wrong", async () => {
  const cases: [Partial<ChildTeamOptions>, string][] = [
    [{ size: 0 }, "'size' must be a positive integer: current value is 0"],
    [{ slotBytes: 1.5 }, "'slotBytes' must be a positive integer: current value is 1.5"],
    [{ timeoutMs: Number.NaN }, "'timeoutMs' must be positive: current value is NaN"],
    [{ startTimeoutMs: 0 }, "'startTimeoutMs' must be positive: current value is 0"],
  ];
  for (const [options, message] of cases) {
    await assertRejects(
      () => startTeam(1, options),
      RangeError,
      `Cannot start workers as ${message}`,
    );
  }
  await assertRejects(
    () => startTeam(1, { permissions: ["--v8-flags=--help"] }),
    TypeError,
    "Cannot start workers as 'permissions' must be permission flags: " +
      "current value is --v8-flags=--help",
  );
  assertEquals(leftovers("memfd:starx"), []);
});

Deno.test("ChildTeam.start() throws the error that a rank's load throws", async () => {
  const init = { greeting: "hello", fail: "Cannot open /no/model: no such folder" };
  const options = { entry: ENTRY, size: 2, permissions: [], timeoutMs: 20_000 };
  const error = await assertRejects(() => ChildTeam.start<FakeTypes>(init, options), FileError);
  assertEquals(error.message, init.fail);
  assertEquals(leftovers("memfd:starx"), []);
});

Deno.test("ChildTeam.start() throws if a child cannot start", async () => {
  const lines: string[] = [];
  const entry = new URL("missing_rank.ts", ENTRY);
  const error = await assertRejects(
    () => startTeam(1, { entry, onLine: (line) => lines.push(line) }),
    WorkerError,
  );
  assertEquals(error.message, "Lost rank 0 in start: its process ended with exit code 1");
  assertMatch(lines.join("\n"), /Module not found/);
});

Deno.test("ChildTeam.start() throws if a child does not join in time", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/idle.ts`, "setInterval(() => {}, 1000);");
    const entry = new URL(`file://${folder}/idle.ts`);
    const error = await assertRejects(
      () => startTeam(2, { entry, timeoutMs: 100, startTimeoutMs: 700 }),
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

Deno.test("ChildTeam.run() throws what a rank refuses a request with, and goes on", async () => {
  await using team = await startTeam(3);
  for (const [name, errorClass] of THROWN.filter(([name]) => name !== "InvariantError")) {
    for (const rank of [0, 2]) {
      const message = `Cannot do this in ${name}`;
      const error = await assertRejects(() => team.run({ kind: "refuse", rank, name, message }));
      assertInstanceOf(error, errorClass);
      assertEquals([error.name, error.message], [name, message]);
      const results = await team.run({ kind: "gather", sample: 0, rounds: 2 });
      assertEquals(results.map(({ value }) => value), ["63", "63", "63"]);
    }
  }
});

Deno.test("ChildTeam.run() throws a rank's error, not those of the ranks that waited", async () => {
  for (const [name, errorClass] of THROWN) {
    const team = await startTeam(3);
    const message = `Cannot do this in ${name}`;
    const error = await assertRejects(() => team.run({ kind: "throw", rank: 1, name, message }));
    assertInstanceOf(error, errorClass);
    assertEquals([error.name, error.message], [name, message]);
    assertNothingLeft(team);
    // The team stays failed, with the same error.
    await assertRejects(() => team.run({ kind: "echo", value: "" }), Error, message);
    await team.close();
  }
});

Deno.test("ChildTeam.run() names a rank that ends by itself and passes its words on", async () => {
  const lines: [string, number][] = [];
  const team = await startTeam(2, { onLine: (line, rank) => lines.push([line, rank]) });
  const error = await assertRejects(
    () => team.run({ kind: "crash", rank: 1, message: "out of luck" }),
    WorkerError,
  );
  assertMatch(error.message, /^Lost rank 1 in \S+: its process ended with exit code 70$/);
  assertEquals(lines, [["out of luck", 1]]);
  assertNothingLeft(team);
});

Deno.test("ChildTeam.run() names a rank whose output is no frame", async () => {
  for (const text of ["Hello", "\0\0\0\0", "\x02\0\0\0{]"]) {
    const team = await startTeam(2);
    const error = await assertRejects(
      () => team.run({ kind: "print", rank: 0, text }),
      WorkerError,
    );
    assertMatch(error.message, /^Lost rank 0 in idle: its output is not understood: Cannot read/);
    assertEquals(error.rank, 0);
    assertNothingLeft(team);
  }
});

Deno.test("serveRank() leaves it to its parent to end upon SIGINT", async () => {
  await using team = await startTeam(2);
  const run = team.run({ kind: "compute", sample: 0, durationMs: 300 });
  await sleep(50);
  for (const pid of pidsOf(team)) Deno.kill(pid, "SIGINT");
  assertEquals((await run).length, 2);
});

Deno.test("ChildTeam starts ranks from a URL, also for a program that was", async () => {
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
