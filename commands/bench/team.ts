/**
 * The ranks of a bench: this process, children of it, or the processes that a launcher started with
 * it.
 *
 * @module
 */
import { BorrowedCollective } from "../../lib/parallel/borrowed.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import { RankStatus } from "../../lib/parallel/state.ts";
import { invariant } from "../../lib/errors.ts";
import { workerPermissions } from "../../lib/engine/engine.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { WorkerPool } from "../../lib/team/pool.ts";
import { gpuEnvironments } from "../../lib/engine/rank_device.ts";
import {
  type BenchFacts,
  type BenchRequest,
  RankBench,
  type RankBenchOptions,
  type RankTimes,
} from "./rank.ts";

/** Ranks that are ready. */
export interface BenchTeam extends AsyncDisposable {
  /** Rank 0's. */
  readonly facts: BenchFacts;
  /**
   * Times one mode on all ranks.
   *
   * @param onNote Told what runs now.
   * @returns What each rank found, by rank.
   * @throws {WorkerError} If a rank is lost.
   */
  run(request: BenchRequest, onNote: (line: string) => void): Promise<readonly RankTimes[]>;
}

/** The bodies that the pool of a bench exchanges. */
export interface BenchTypes {
  init: RankBenchOptions;
  ready: BenchFacts;
  request: BenchRequest;
  result: RankTimes;
  progress: string;
}

/** How long a rank may make no progress. */
const TIMEOUT_MS = 120_000;

/**
 * Opens the ranks.
 *
 * @param ranks `group`: the processes that a launcher started, all of which call this.
 * @throws As `RankBench.open()`.
 */
export function openTeam(
  init: RankBenchOptions,
  ranks: { processCount: number; group: RankGroup | undefined },
): Promise<BenchTeam> {
  const { processCount, group } = ranks;
  if (group !== undefined) return openGroup(init, group);
  return processCount === 1 ? openAlone(init) : openPool(init, processCount);
}

async function openAlone(init: RankBenchOptions): Promise<BenchTeam> {
  const bench = await RankBench.open(init, {
    host: new SelfCollective(),
    hostName: "none",
    status: new RankStatus(),
    timeoutMs: TIMEOUT_MS,
  });
  return {
    facts: bench.facts,
    run: async (request, onNote) => [await bench.run(request, { onNote })],
    [Symbol.asyncDispose]: () => Promise.resolve(bench[Symbol.dispose]()),
  };
}

async function openPool(init: RankBenchOptions, size: number): Promise<BenchTeam> {
  const entry = new URL("./worker.ts", import.meta.url);
  const pool = await WorkerPool.start<BenchTypes>(init, {
    entry,
    size,
    permissions: workerPermissions(entry),
    env: init.device === "cuda" ? gpuEnvironments(size) : undefined,
    timeoutMs: TIMEOUT_MS,
  });
  const [facts] = pool.ready;
  invariant(facts !== undefined, "a started pool has a rank 0");
  return {
    facts,
    run: (request, onNote) =>
      pool.run(request, { onProgress: (line, rank) => rank === 0 && onNote(line) }),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

async function openGroup(init: RankBenchOptions, group: RankGroup): Promise<BenchTeam> {
  const { collective, status } = group;
  collective.timeoutMs = TIMEOUT_MS;
  status.enter("load");
  const bench = await RankBench.open(init, {
    host: new BorrowedCollective(collective),
    hostName: collective.version,
    status,
    timeoutMs: TIMEOUT_MS,
    onProgress: () => status.advance(),
  });
  return {
    facts: bench.facts,
    run: async (request, onNote) =>
      await group.gather(await bench.run(request, { onNote })) as RankTimes[],
    [Symbol.asyncDispose]: () => Promise.resolve(bench[Symbol.dispose]()),
  };
}
