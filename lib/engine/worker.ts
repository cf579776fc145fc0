/**
 * The entry of a worker process: one rank of a pool.
 *
 * @module
 */
import type { StarTypes } from "./engine.ts";
import { exchangeName } from "./exchange.ts";
import { RankModel } from "./rank.ts";
import { serveRank } from "../team/serve.ts";
import { fromWire } from "./wire.ts";

/** How much longer than the parent a rank waits for an exchange. */
const GRACE_MS = 3_000;

if (import.meta.main) {
  await serveRank<StarTypes>(async (init, { collective: host, status, timeoutMs }) => {
    const onProgress = () => status.advance();
    const model = await RankModel.load(init, { host, onProgress });
    // The parent, which sees all ranks, is to say first which one hangs.
    const collective = await model.connect(host, { timeoutMs: timeoutMs + GRACE_MS });
    const { config, deviceDescription } = model;
    return {
      ready: { config, deviceDescription, exchange: exchangeName(collective, "shared memory") },
      run: (request, { progress }) =>
        model.run(fromWire(request), { collective, status, onProgress: progress }),
    };
  });
}
