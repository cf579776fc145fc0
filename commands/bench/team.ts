/**
 * The rank program of a bench: every rank runs the same timed runs, one mode after the other.
 *
 * @module
 */
import { threadsPerProcess } from "../../lib/device/open.ts";
import { gpuEnvironments } from "../../lib/engine/rank_device.ts";
import { workerPermissions } from "../../lib/engine/star_program.ts";
import { oneAtATime } from "../../lib/team/one_at_a_time.ts";
import type { RankContext, RankProgram, RankService } from "../../lib/team/program.ts";
import {
  type BenchFacts,
  type BenchRequest,
  RankBench,
  type RankBenchOptions,
  type RankTimes,
} from "./rank.ts";

/** The bodies that a bench and its ranks exchange. */
export interface BenchTypes {
  init: RankBenchOptions;
  ready: BenchFacts;
  request: BenchRequest;
  result: RankTimes;
  /** What runs now. */
  progress: string;
}

const ENTRY = new URL("./worker.ts", import.meta.url);

/** A bench on ranks. */
export const BENCH_PROGRAM: RankProgram<BenchTypes> = {
  name: "bench",
  entry: ENTRY,
  permissions: workerPermissions(ENTRY),
  environment: (init, size) => init.device === "cuda" ? gpuEnvironments(size) : undefined,
  load: loadBenchRank,
};

async function loadBenchRank(
  init: RankBenchOptions,
  context: RankContext<BenchTypes>,
): Promise<RankService<BenchTypes>> {
  const { collective: host, carrier, status, hangTimeoutMs: timeoutMs, localSize } = context;
  const threads = threadsPerProcess(init.threads, { processCount: localSize });
  const bench = await RankBench.open({ ...init, threads }, {
    host,
    hostName: carrier,
    status,
    timeoutMs,
    onProgress: () => status.advance(),
  });
  return oneAtATime(context, {
    ready: bench.facts,
    run: (request, { progress }) => bench.run(request, { onNote: progress }),
    dispose: () => bench[Symbol.dispose](),
  });
}
