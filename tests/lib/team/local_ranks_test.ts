/**
 * What is said of ranks that do not come, and that those of one start find each other.
 *
 * @module
 */
import type { Launch } from "../../../lib/team/launch.ts";
import { LocalRanks, missingText, waitForRanks } from "../../../lib/team/local_ranks.ts";
import { WorkerError } from "../../../lib/errors.ts";
import { assertEquals, assertMatch, assertRejects } from "../../helpers/assert.ts";

const LAUNCH: Launch = {
  launcher: "Open MPI",
  rank: 2,
  size: 4,
  localRank: 0,
  localSize: 2,
  master: undefined,
  mpi: "openmpi",
};

Deno.test("missingText() names the ranks of this node that are missing, or else other nodes", () => {
  const text = (come: number[], late: number[] = [], ended: number[] = [], absent: number[] = []) =>
    missingText({ come, late, ended, absent }, { launch: LAUNCH, node: "n2" });
  assertEquals(text([2], [3]), "rank 3 (node n2) did not come");
  assertEquals(text([2], [], [3]), "rank 3 (node n2) ended");
  assertEquals(text([2], [], [], [3]), "rank 3 (node n2) did not start, or ended");
  assertEquals(text([2, 3]), "all 2 ranks of node n2 came, not all of ranks 0, 1 of other nodes");
  assertEquals(text([2]), "all 2 ranks of node n2 came, not all of the 2 of other nodes");
  const many = { launch: { ...LAUNCH, size: 16, localSize: 2 }, node: "n2" };
  const row = { come: [0, 1], late: [], ended: [], absent: [] };
  assertEquals(
    missingText(row, many),
    "all 2 ranks of node n2 came, not all of ranks 2 to 15 of other nodes",
  );
  const one = { ...LAUNCH, localSize: 4, localRank: 2 };
  const options = { launch: one, node: "n1" };
  const all = { come: [0, 1, 2, 3], late: [], ended: [], absent: [] };
  assertEquals(missingText(all, options), "all 4 ranks came, and did not meet");
  const few = { come: [2], late: [3], ended: [0], absent: [1] };
  assertEquals(
    missingText(few, options),
    "rank 3 (node n1) did not come; rank 0 (node n1) ended; rank 1 (node n1) did not start, or ended",
  );
});

Deno.test("LocalRanks finds nobody where nothing names the start", () => {
  using ranks = new LocalRanks(LAUNCH);
  assertEquals(ranks.look().ended, []);
});

Deno.test("waitForRanks() gives what the start gives, and says who is missing in time", async () => {
  const options = { launch: LAUNCH, node: "n2", timeoutMs: 300 };
  assertEquals(await waitForRanks(Promise.resolve(7), options), 7);
  const never = new Promise<number>(() => {});
  const error = await assertRejects(() => waitForRanks(never, options), WorkerError);
  assertMatch(
    error.message,
    /^Cannot start: not all ranks came within 300 ms: ranks 2, 3 \(node n2\)/,
  );
});
