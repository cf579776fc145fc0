/**
 * TCP's collective against the conformance suite, and how its ranks find and lose each other.
 *
 * @module
 */
import { DeviceError, UsageError, WorkerError } from "../../lib/errors.ts";
import { TcpCollective } from "../../lib/parallel/tcp.ts";
import { FRAME, Link } from "../../lib/parallel/tcp_link.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { testCollective } from "../helpers/collective_suite.ts";
import { connectTcp, freePort, testKey } from "../helpers/tcp_group.ts";

const PIECE_BYTES = 4096;

testCollective("TcpCollective", {
  sizes: [1, 2, 4],
  slotBytes: PIECE_BYTES,
  connect: (size, { timeoutMs }) => connectTcp(size, { timeoutMs, pieceBytes: PIECE_BYTES }),
});

const TIMEOUT = { timeoutMs: 20_000 };

async function connectRaw(port: number): Promise<Deno.TcpConn> {
  for (;;) {
    try {
      return await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test("TcpCollective starts among strangers that say nothing, nonsense, or too much", async () => {
  const port = freePort();
  const key = await testKey();
  const place = { size: 2, address: "127.0.0.1", port, key, startTimeoutMs: 20_000, ...TIMEOUT };
  const zero = TcpCollective.join({ ...place, rank: 0 });
  const strangers: Deno.TcpConn[] = [];
  for (const bytes of [[], [1, 2, 3], [255, 255, 255, 255, 2], [0, 0, 0, 0]]) {
    const stranger = await connectRaw(port);
    if (bytes.length > 0) await stranger.write(Uint8Array.from(bytes));
    strangers.push(stranger);
  }
  const one = TcpCollective.join({ ...place, rank: 1 });
  const ranks = await Promise.all([zero, one]);
  await Promise.all(ranks.map((rank) => rank.barrier()));
  await Promise.all(ranks.map((rank) => rank.leave()));
  await Promise.all(ranks.map((rank) => rank.ended()));
  for (const stranger of strangers) stranger.close();
});

Deno.test("TcpCollective.join() never sends the key, and its proofs cannot be sent back", async () => {
  const secret = "a key of the tests alone";
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const joining = TcpCollective.join({
    ...{ rank: 1, size: 2, address: "127.0.0.1", port, key: await testKey(secret) },
    ...{ startTimeoutMs: 10_000, ...TIMEOUT },
  });
  const refused = assertRejects(() => joining, UsageError, "does not know the job key");
  using connection = await listener.accept();
  const link = new Link(connection);
  const magic = new TextEncoder().encode("starx-tcp-1\n");
  link.send(FRAME.challenge, magic, new Uint8Array(32));
  const answer = await link.read(1_000);
  assertEquals(answer?.kind, FRAME.answer);
  const body = answer?.body ?? new Uint8Array();
  assertEquals(new TextDecoder("latin1").decode(body).includes(secret), false);
  // Its own proof, as if it were rank 0's.
  link.send(FRAME.proof, body.subarray(-32));
  await refused;
});

Deno.test("TcpCollective.join() refuses another key, another size and a rank that is there", async () => {
  const port = freePort();
  const place = { size: 3, address: "127.0.0.1", port, startTimeoutMs: 20_000, ...TIMEOUT };
  const key = await testKey();
  const zero = TcpCollective.join({ ...place, key, rank: 0 });
  const other = { ...place, key: await testKey("another key of the tests"), rank: 1 };
  await assertRejects(() => TcpCollective.join(other), UsageError, "it has another job key");
  const four = { ...place, key, rank: 1, size: 4 };
  await assertRejects(() => TcpCollective.join(four), UsageError, "it has another WORLD_SIZE");
  // Whichever of the two comes first is there.
  const twins = [1, 1].map((rank) => TcpCollective.join({ ...place, key, rank }));
  const refused = await Promise.race(twins.map((twin, i) => twin.then(() => -1, () => i)));
  const late = twins[refused];
  assert(late !== undefined, "one of the two is refused before all have come");
  await assertRejects(() => late, WorkerError, "the rank has come already");
  const one = twins[1 - refused];
  assert(one !== undefined);
  const two = TcpCollective.join({ ...place, key, rank: 2 });
  const ranks = await Promise.all([zero, one, two]);
  await Promise.all(ranks.map((rank) => rank.leave()));
  await Promise.all(ranks.map((rank) => rank.ended()));
});

Deno.test("TcpCollective.join() names the ranks that do not come, to those that came, too", async () => {
  const port = freePort();
  const key = await testKey();
  const place = { size: 4, address: "127.0.0.1", port, key, startTimeoutMs: 2_000, ...TIMEOUT };
  const zero = assertRejects(() => TcpCollective.join({ ...place, rank: 0 }), WorkerError);
  const two = assertRejects(() => TcpCollective.join({ ...place, rank: 2 }), WorkerError);
  const text = "Cannot start: not all ranks came within 2000 ms: ranks 1, 3 did not come";
  assertEquals((await zero).message, text);
  assertEquals((await two).message, text);
  const late = { ...place, port: freePort(), rank: 1 };
  const error = await assertRejects(() => TcpCollective.join(late), WorkerError);
  assertMatch(
    error.message,
    /rank 0 was not met at 127\.0\.0\.1:\d+ within 2000 ms: Connection ref/,
  );
});

Deno.test("TcpCollective.join() says that the port is taken", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const place = { rank: 0, size: 2, address: "127.0.0.1", port, startTimeoutMs: 5_000 };
  const key = await testKey();
  await assertRejects(
    () => TcpCollective.join({ ...place, key, ...TIMEOUT }),
    DeviceError,
    `Cannot listen at 127.0.0.1:${port} as rank 0: the port is taken`,
  );
});

Deno.test("TcpCollective tells all ranks who has gone without taking leave", async () => {
  const lost: string[] = [];
  await using group = await connectTcp(3, {
    ...TIMEOUT,
    onLost: (error) => lost.push(`${error.name}: ${error.message}`),
  });
  const [zero, one, two] = group.ranks;
  assert(zero !== undefined && one !== undefined && two !== undefined);
  const waiting = [zero, one].map((rank) => assertRejects(() => rank.barrier(), WorkerError));
  two.close();
  const [first, second] = await Promise.all(waiting);
  const text = "Lost rank 2 in start: its connection has ended";
  assertEquals(first?.message, text);
  assertEquals(second?.message, `Rank 0 ended the run: ${text}`);
  assertEquals(lost, [`WorkerError: ${text}`, `AbortedError: Rank 0 ended the run: ${text}`]);
  assertEquals([zero.isCutOff, one.isCutOff], [false, false]);
  // Rank 0 waits for nobody that is gone, and rank 1 until the user knows.
  assertEquals(await zero.ending.agree(), true);
  let isOver = false;
  const over = one.ending.untilTold().then(() => isOver = true);
  await zero.barrier().catch(() => {});
  assertEquals(isOver, false);
  await zero.ending.told();
  await over;
});

Deno.test("TcpCollective of ranks that lose rank 0 knows that nobody hears them", async () => {
  await using group = await connectTcp(3, TIMEOUT);
  const [zero, ...others] = group.ranks;
  const waiting = others.map((rank) => assertRejects(() => rank.barrier(), WorkerError));
  zero?.close();
  for (const error of await Promise.all(waiting)) {
    assertEquals(error.message, "Lost rank 0 in start: its connection has ended");
  }
  assertEquals(others.map((rank) => rank.isCutOff), [true, true]);
});

Deno.test("TcpCollective carries notes of every rank to all others", async () => {
  await using group = await connectTcp(3, TIMEOUT);
  for (const rank of group.ranks) rank.announce(100 + rank.rank);
  const isHeard = () =>
    group.ranks.every((rank) =>
      group.ranks.every((other) =>
        rank === other || rank.announced(other.rank) === 100 + other.rank
      )
    );
  while (!isHeard()) await new Promise((resolve) => setTimeout(resolve, 5));
});
