/**
 * The collectives of one process and of one machine, and what ranks say about themselves.
 *
 * @module
 */
import { SelfCollective } from "../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../lib/parallel/shm.ts";
import {
  GroupState,
  lostRankError,
  positionText,
  RankStatus,
  StallClock,
} from "../../lib/parallel/state.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { testCollective, type TestGroup } from "../helpers/collective_suite.ts";
import { WorkerError } from "../../lib/errors.ts";

const SLOT_BYTES = 4096;

testCollective("SelfCollective", {
  sizes: [1],
  slotBytes: SLOT_BYTES,
  connect: () => {
    const collective = new SelfCollective();
    return Promise.resolve({
      ranks: [collective],
      [Symbol.asyncDispose]: () => Promise.resolve(collective.close()),
    });
  },
});

testCollective("ShmCollective", {
  sizes: [1, 2, 4],
  slotBytes: SLOT_BYTES,
  connect: (size, { timeoutMs }) => Promise.resolve(shmGroup(size, timeoutMs)),
});

function shmGroup(size: number, timeoutMs: number): TestGroup {
  const group = new ShmGroup({ size, slotBytes: SLOT_BYTES });
  const ranks = Array.from(
    { length: size },
    (_, rank) => new ShmCollective(group.path, { rank, size, slotBytes: SLOT_BYTES, timeoutMs }),
  );
  group.seal();
  return {
    ranks,
    [Symbol.asyncDispose]: () => {
      for (const collective of ranks) collective.close();
      group[Symbol.dispose]();
      return Promise.resolve();
    },
  };
}

Deno.test("ShmCollective waits beyond its time-out while the others make progress", async () => {
  using group = new ShmGroup({ size: 2, slotBytes: SLOT_BYTES });
  const shape = { size: 2, slotBytes: SLOT_BYTES, timeoutMs: 400 };
  using fast = new ShmCollective(group.path, { ...shape, rank: 0 });
  using slow = new ShmCollective(group.path, { ...shape, rank: 1 });
  const startMs = performance.now();
  const waiting = fast.barrier();
  while (performance.now() - startMs < 1200) {
    slow.status.advance();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await slow.barrier();
  await waiting;
});

Deno.test("GroupState.snapshot() tells a rank that waits from one that has been let go", () => {
  const state = new GroupState(new Uint8Array(GroupState.byteLength(2)), { size: 2 });
  const status = state.status(1);
  status.enter("phase 2", 7);
  status.beat();
  assertEquals(status.position, { phase: "phase 2", sample: 7 });
  const before = state.snapshot(1);
  const position = { phase: "phase 2", sample: 7 };
  assertEquals(before, { ...position, progress: 1, pulse: 1, waitsForOthers: false });
  state.beginWait(1, 1);
  assertEquals(state.arrive(1, 1), false);
  assertEquals(state.missing(1), [0]);
  assertEquals(state.snapshot(1).waitsForOthers, true);
  assertEquals(state.arrive(0, 1), true);
  assertEquals(state.missing(1), []);
  assertEquals(state.snapshot(1).waitsForOthers, false);
  state.endWait(1);
  assertEquals(state.snapshot(1).progress, 2);
  assertEquals(state.snapshot(0).phase, "start");
});

Deno.test("GroupState goes on when the epoch wraps around", () => {
  const state = new GroupState(new Uint8Array(GroupState.byteLength(3)), { size: 3 });
  const words = 2 ** 31 - 3;
  // As if all epochs before had happened: what the counters would be is what arrive() compares.
  const bytes = new Uint8Array(GroupState.byteLength(3));
  const wrapped = new GroupState(bytes, { size: 3 });
  const view = new Int32Array(bytes.buffer);
  view[GroupState.doneByteOffset / 4] = words;
  view[GroupState.doneByteOffset / 8] = Math.imul(words, 3);
  for (let i = 1; i <= 6; i++) {
    const epoch = (words + i) | 0;
    assertEquals(wrapped.arrive(0, epoch), false);
    assertEquals(wrapped.arrive(1, epoch), false);
    assertEquals(wrapped.isDone(epoch), false);
    assertEquals(wrapped.arrive(2, epoch), true);
    assertEquals(wrapped.isDone(epoch), true);
  }
  assertEquals(state.isDone(1), false);
});

Deno.test("GroupState.abort() keeps the first reason and cuts a long one", () => {
  const state = new GroupState(new Uint8Array(GroupState.byteLength(2)), { size: 2 });
  assertEquals(state.aborted, undefined);
  state.abort({ rank: 1, reason: "é".repeat(400) });
  state.abort({ rank: 0, reason: "second" });
  assertEquals(state.aborted, { rank: 1, reason: "é".repeat(256) });
});

Deno.test("StallClock.look() counts only time without progress and excuse, in bounded steps", () => {
  const clock = new StallClock({ maxStepMs: 100 });
  const look = (nowMs: number, progress: number, excused = false) =>
    clock.look(2, { nowMs, progress, excused });
  assertEquals(look(0, 5), 0);
  assertEquals(look(60, 5), 60);
  assertEquals(look(120, 5), 120);
  assertEquals(look(180, 6), 0);
  assertEquals(look(240, 6), 60);
  assertEquals(look(300, 6, true), 0);
  assertEquals(look(360, 6), 60);
  assertEquals(look(100_000, 6), 160);
});

Deno.test("lostRankError() names rank, phase, sample and cause", () => {
  const cause = "its process was ended by SIGKILL";
  const error = lostRankError(3, { position: { phase: "phase 1", sample: 12 }, cause });
  assert(error instanceof WorkerError);
  assertEquals(
    error.message,
    "Lost rank 3 in phase 1 of sample 12: its process was ended by SIGKILL",
  );
  assertEquals([error.rank, error.phase], [3, "phase 1"]);
  assertEquals(positionText({ phase: "load", sample: -1 }), "load");
});

Deno.test("RankStatus works without a group", () => {
  const status = new RankStatus();
  status.enter("phase 1", 0);
  status.advance();
  assertEquals(status.position, { phase: "phase 1", sample: 0 });
});
