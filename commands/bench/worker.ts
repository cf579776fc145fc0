/**
 * The entry of a child process of a bench: one rank.
 *
 * @module
 */
import { serveRank } from "../../lib/team/serve.ts";
import { RankBench } from "./rank.ts";
import type { BenchTypes } from "./team.ts";

if (import.meta.main) {
  await serveRank<BenchTypes>(async (init, { collective: host, status, timeoutMs }) => {
    const place = { host, hostName: "shared memory", status, timeoutMs };
    const bench = await RankBench.open(init, { ...place, onProgress: () => status.advance() });
    return {
      ready: bench.facts,
      run: (request, { progress }) => bench.run(request, { onNote: progress }),
    };
  });
}
