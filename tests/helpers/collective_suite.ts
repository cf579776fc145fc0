/**
 * What every implementation of a collective must do.
 *
 * @module
 */
import type { Collective } from "../../lib/parallel/collective.ts";
import { WorkerError } from "../../lib/errors.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "./assert.ts";

/** A connected group; index is rank. */
export interface TestGroup extends AsyncDisposable {
  readonly ranks: readonly Collective[];
}

/** How to make groups of one implementation. */
export interface SuiteOptions {
  /** The group sizes to test. */
  sizes: readonly number[];
  /** The bytes that go in one piece, if there is such a limit. */
  slotBytes: number;
  connect(size: number, options: { timeoutMs: number }): Promise<TestGroup>;
}

const PATIENT_MS = 20_000;
const IMPATIENT_MS = 300;

/** Registers the tests of one implementation. */
export function testCollective(name: string, options: SuiteOptions): void {
  for (const size of options.sizes) {
    const label = `${name} of ${size}`;
    testExchanges(label, { ...options, size });
    testMisuse(label, { ...options, size });
    if (size > 1) testFailures(label, { ...options, size });
  }
}

type GroupOptions = SuiteOptions & { size: number };

/** Bytes that differ by rank, round and position. */
function pattern(rank: number, round: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).map((_, i) =>
    (rank * 89 + round * 31 + i * 7 + (i >> 8)) & 255
  );
}

function joined(options: { size: number; round: number; byteLength: number }): Uint8Array {
  const { size, round, byteLength } = options;
  const out = new Uint8Array(size * byteLength);
  for (let rank = 0; rank < size; rank++) {
    out.set(pattern(rank, round, byteLength), rank * byteLength);
  }
  return out;
}

async function gatherAll(
  ranks: readonly Collective[],
  options: { round: number; byteLength: number },
): Promise<void> {
  const { round, byteLength } = options;
  const size = ranks.length;
  await Promise.all(ranks.map(async (collective, rank) => {
    const out = new Uint8Array(size * byteLength);
    await collective.allGather(pattern(rank, round, byteLength), out);
    assertEquals(out, joined({ size, round, byteLength }));
  }));
}

function testExchanges(label: string, options: GroupOptions): void {
  const { size, slotBytes, connect } = options;
  const lengths = [0, 1, 3, 1001, slotBytes - 1, slotBytes, slotBytes + 1, 3 * slotBytes + 17];

  Deno.test(`${label}: allGather() gives all parts in rank order for every length`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    for (const [round, byteLength] of lengths.entries()) {
      await gatherAll(group.ranks, { round, byteLength });
    }
  });

  Deno.test(`${label}: allGather() keeps many rounds of a fast and a slow rank apart`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    const byteLength = 64;
    await Promise.all(group.ranks.map(async (collective, rank) => {
      assertEquals([collective.rank, collective.size], [rank, size]);
      const out = new Uint8Array(size * byteLength);
      for (let round = 0; round < 200; round++) {
        if (rank === round % size) await new Promise((resolve) => setTimeout(resolve, round % 3));
        await collective.allGather(pattern(rank, round, byteLength), out);
        assertEquals(out, joined({ size, round, byteLength }));
      }
    }));
  });

  Deno.test(`${label}: allGather() reads and writes parts of larger buffers`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    await Promise.all(group.ranks.map(async (collective, rank) => {
      const buffer = new Uint8Array(16).fill(rank + 1);
      const out = new Uint8Array(size * 5 + 6).fill(255);
      await collective.allGather(buffer.subarray(3, 8), out.subarray(1, 1 + size * 5));
      assertEquals(out[0], 255);
      assertEquals([...out.subarray(1 + size * 5)], [255, 255, 255, 255, 255]);
      for (let i = 0; i < size * 5; i++) assertEquals(out[1 + i], Math.floor(i / 5) + 1);
    }));
  });

  Deno.test(`${label}: broadcast() copies from every root for every length`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    for (const byteLength of lengths) {
      for (let root = 0; root < size; root++) {
        await Promise.all(group.ranks.map(async (collective, rank) => {
          const data = pattern(rank, root, byteLength);
          await collective.broadcast(data, { root });
          assertEquals(data, pattern(root, root, byteLength));
        }));
      }
    }
  });

  Deno.test(`${label}: barrier() holds everyone until the last one`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    let arrived = 0;
    await Promise.all(group.ranks.map(async (collective, rank) => {
      await new Promise((resolve) => setTimeout(resolve, rank * 20));
      arrived++;
      await collective.barrier();
      assertEquals(arrived, size);
    }));
  });
}

function testMisuse(label: string, options: GroupOptions): void {
  const { size, connect } = options;

  Deno.test(`${label}: operations refuse wrong lengths, roots and time-outs`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    for (const collective of group.ranks) {
      await assertRejects(
        () => collective.allGather(new Uint8Array(4), new Uint8Array(size * 4 + 1)),
        RangeError,
        `Cannot gather as 'out' must have ${size * 4} bytes: current value is ${size * 4 + 1}`,
      );
      for (const root of [-1, size, 0.5]) {
        await assertRejects(
          () => collective.broadcast(new Uint8Array(4), { root }),
          RangeError,
          `Cannot broadcast as 'root' must be a rank below ${size}: current value is ${root}`,
        );
      }
      await assertRejects(
        () => collective.barrier({ timeoutMs: 0 }),
        RangeError,
        "Cannot wait as 'timeoutMs' must be positive: current value is 0",
      );
    }
    await gatherAll(group.ranks, { round: 0, byteLength: 10 });
  });

  Deno.test(`${label}: operations throw after close()`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    for (const collective of group.ranks) {
      collective.close();
      collective.close();
      collective.abort("too late to matter");
      const out = new Uint8Array(size);
      await assertRejects(
        () => collective.allGather(new Uint8Array(1), out),
        TypeError,
        "Cannot start an all-gather as the collective is closed",
      );
      await assertRejects(() => collective.broadcast(out, { root: 0 }), TypeError, "is closed");
      await assertRejects(() => collective.barrier(), TypeError, "is closed");
    }
  });

  Deno.test(`${label}: operations throw after abort()`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    const last = group.ranks[size - 1];
    assert(last !== undefined);
    last.abort("the model is damaged");
    for (const collective of group.ranks) {
      const error = await assertRejects(() => collective.barrier(), WorkerError);
      assertEquals(error.message, `Rank ${size - 1} ended the run: the model is damaged`);
      assertEquals(error.rank, size - 1);
    }
  });
}

function testFailures(label: string, options: GroupOptions): void {
  const { size, connect } = options;

  Deno.test(`${label}: a wait ends by its time-out and names the rank waited for`, async () => {
    await using group = await connect(size, { timeoutMs: IMPATIENT_MS });
    const waiting = group.ranks.slice(1).map((collective) =>
      assertRejects(() => collective.barrier(), WorkerError)
    );
    const errors = await Promise.all(waiting);
    const first = errors.find((error) => error.name === "WorkerError");
    assert(first !== undefined, "nobody reported the time-out itself");
    assertEquals(first.rank, 0);
    assertMatch(first.message, /^Lost rank 0 in \w+: it made no progress for 300 ms$/);
  });

  Deno.test(`${label}: abort() wakes all waiters long before their time-out`, async () => {
    await using group = await connect(size, { timeoutMs: 600_000 });
    const [first, ...others] = group.ranks;
    const waiting = others.map((collective) =>
      assertRejects(() => collective.barrier(), WorkerError)
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    first?.abort("no memory");
    for (const error of await Promise.all(waiting)) {
      assertEquals(error.message, "Rank 0 ended the run: no memory");
    }
  });

  Deno.test(`${label}: close() ends this rank's own wait`, async () => {
    await using group = await connect(size, { timeoutMs: 600_000 });
    const collective = group.ranks[0];
    assert(collective !== undefined);
    const waiting = assertRejects(() => collective.barrier(), TypeError, "is closed");
    await new Promise((resolve) => setTimeout(resolve, 20));
    await assertRejects(
      () => collective.barrier(),
      TypeError,
      "Cannot start a barrier as another operation is under way",
    );
    collective.close();
    await waiting;
  });

  Deno.test(`${label}: ranks that call different operations are told`, async () => {
    await using group = await connect(size, { timeoutMs: PATIENT_MS });
    const errors = await Promise.all(group.ranks.map((collective, rank) =>
      assertRejects(
        () =>
          rank === 0 ? collective.barrier() : collective.allGather(
            new Uint8Array(rank),
            new Uint8Array(size * rank),
          ),
        WorkerError,
      )
    ));
    for (const error of errors) {
      assertStringIncludes(error.message, "Cannot exchange as all ranks must call the same");
    }
  });
}
