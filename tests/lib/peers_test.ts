/**
 * What ranks of several machines know of each other, without any exchange.
 *
 * @module
 */
import { Peers, readReport, REPORT_BYTES, writeReport } from "../../lib/parallel/peers.ts";
import { RankStatus } from "../../lib/parallel/state.ts";
import { assertEquals } from "../helpers/assert.ts";

const STEP_MS = 100;

function makePeers(): Peers {
  return new Peers({ rank: 0, size: 3, silenceMs: 250, maxStepMs: STEP_MS });
}

Deno.test("readReport() gives what writeReport() wrote, a long reason cut", () => {
  const out = new Uint8Array(REPORT_BYTES + 8).fill(7);
  const report = {
    rank: 2,
    epoch: -3,
    progress: 9,
    phase: "phase 2",
    sample: 4,
    note: 12,
  } as const;
  const short = writeReport(report, out);
  assertEquals(readReport(out.subarray(0, short)), report);
  const abort = { rank: 1, reason: "é".repeat(400) };
  const long = writeReport({ ...report, abort }, out);
  assertEquals(long, REPORT_BYTES);
  assertEquals([...out.subarray(REPORT_BYTES)], Array(8).fill(7));
  const expected = { ...report, abort: { rank: 1, reason: "é".repeat(256) } };
  assertEquals(readReport(out), { ...expected, isTold: false });
  writeReport({ ...report, abort, isTold: true }, out);
  assertEquals(readReport(out), { ...expected, isTold: true });
});

Deno.test("Peers.report() tells this rank's place", () => {
  const peers = makePeers();
  const status = new RankStatus();
  status.enter("phase 1", 5);
  peers.note = 3;
  assertEquals(peers.report(status, 8), {
    ...{ rank: 0, epoch: 8, progress: 1, phase: "phase 1", sample: 5, note: 3 },
    ...{ abort: undefined, isTold: false },
  });
  peers.noteAbort({ rank: 2, reason: "first" });
  peers.noteAbort({ rank: 1, reason: "second" });
  assertEquals(peers.report(status, 8).abort, { rank: 2, reason: "first" });
});

Deno.test("Peers.findStalled() names the rank that has not come and does not get on", () => {
  const peers = makePeers();
  const clock = peers.clock();
  const timeoutMs = 250;
  const at = (nowMs: number, progress: number) => {
    peers.hear({ rank: 1, epoch: 1, progress: 0, phase: "phase 2", sample: -1, note: 0 });
    peers.hear({ rank: 2, epoch: 0, progress, phase: "phase 1", sample: 6, note: 0 });
    return peers.findStalled(1, { clock, timeoutMs, nowMs })?.message;
  };
  assertEquals([at(0, 1), at(100, 1), at(200, 1)], Array(3).fill(undefined));
  assertEquals([at(300, 2), at(400, 2), at(500, 2)], Array(3).fill(undefined));
  assertEquals(at(600, 2), "Lost rank 2 in phase 1 of sample 6: it made no progress for 250 ms");
});

Deno.test("Peers.findStalled() lets a rank between samples stand still while it is heard of", () => {
  const peers = makePeers();
  const clock = peers.clock();
  const look = (nowMs: number) => peers.findStalled(1, { clock, timeoutMs: 250, nowMs })?.rank;
  peers.hear({ rank: 1, epoch: 1, progress: 0, phase: "idle", sample: -1, note: 0 });
  for (let nowMs = 0; nowMs <= 1000; nowMs += STEP_MS) {
    peers.hear({ rank: 2, epoch: 0, progress: 3, phase: "idle", sample: -1, note: 0 });
    assertEquals(look(nowMs), undefined);
  }
  assertEquals([1100, 1200, 1300].map(look), [undefined, undefined, 2]);
});

Deno.test("Peers.findSilent() names a rank that vanishes in the midst of a sample", () => {
  const peers = makePeers();
  const hear = (phase: "idle" | "phase 1") =>
    peers.hear({ rank: 1, epoch: 0, progress: 0, phase, sample: 2, note: 0 });
  hear("idle");
  for (let nowMs = 0; nowMs <= 1000; nowMs += STEP_MS) {
    assertEquals(peers.findSilent(nowMs), undefined);
  }
  hear("phase 1");
  assertEquals([1100, 1200, 1300].map((ms) => peers.findSilent(ms)), Array(3).fill(undefined));
  assertEquals(
    peers.findSilent(1400)?.message,
    "Lost rank 1 in phase 1 of sample 2: nothing was heard of it for 250 ms",
  );
});

Deno.test("Peers.findSilent() does not count the time in which this process was stopped", () => {
  const peers = makePeers();
  peers.hear({ rank: 1, epoch: 0, progress: 0, phase: "phase 1", sample: 2, note: 0 });
  assertEquals(peers.findSilent(0), undefined);
  assertEquals(peers.findSilent(60_000), undefined);
  assertEquals(peers.findSilent(120_000), undefined);
});

Deno.test("Peers.awaited() names ranks that do not know of the end, and are neither gone nor silent", () => {
  const peers = new Peers({ rank: 1, size: 5, silenceMs: 250, maxStepMs: STEP_MS });
  const hear = (rank: number, abort?: { rank: number; reason: string }) =>
    peers.hear({ rank, epoch: 0, progress: 0, phase: "idle", sample: -1, note: 0, abort });
  const awaited = (nowMs: number) => peers.awaited(nowMs, 250);
  assertEquals(awaited(0), [0, 2, 3, 4]);
  hear(3, { rank: 1, reason: "it is lost" });
  assertEquals(awaited(100), [0, 2, 4]);
  peers.noteGone(4);
  hear(2);
  assertEquals(awaited(200), [0, 2]);
  hear(2);
  assertEquals([awaited(300), awaited(400)], [[2], [2]]);
  // A long stop of this process counts as one step.
  assertEquals([awaited(60_000), awaited(120_000)], [[2], []]);
});

Deno.test("Peers.isTold is passed on by whoever hears it", () => {
  const peers = makePeers();
  assertEquals(peers.report(new RankStatus(), 0).isTold, false);
  const abort = { rank: 2, reason: "it is lost" };
  const place = { epoch: 0, progress: 0, phase: "idle", sample: -1, note: 0 } as const;
  peers.hear({ rank: 2, ...place, abort, isTold: true });
  assertEquals(peers.isTold, true);
  assertEquals(peers.report(new RankStatus(), 0).isTold, true);
});
