/**
 * Worker processes that are killed or stopped while a model runs on them, in both phases.
 *
 * @module
 */
import { WorkerError } from "../../lib/errors.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { childrenOf, leftovers, waitUntilEnded } from "../helpers/processes.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";

/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 8_000;
/** Processes that do not end by themselves are waited for no longer. */
const PATIENCE_MS = 60_000;

for (const phase of ["phase 1", "phase 2"] as const) {
  for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
    const what = signal === "SIGKILL" ? "killed" : "stopped";
    Deno.test(`generate() throws if a worker is ${what} in ${phase}, and leaves nothing`, async () => {
      const engine = await openTiny({
        plan: STAR,
        processCount: 2,
        timeoutMs: signal === "SIGKILL" ? 120_000 : HANG_MS,
        batchSize: 3,
      });
      const children = childrenOf(Deno.pid);
      assertEquals(children.length, 2);
      const victim = children.find(({ command }) => command.includes("--rank=1"))?.pid ?? 0;
      const request = await goldenRequest({
        task: "niah_multikey_2",
        repeat: 4,
        tokensToGenerate: 400,
      });
      let isLost = false;
      // Others are in flight, too, and end by the same loss.
      const others = ["first", "second"].map((sample) => engine.generate({ ...request, sample }));
      const settled = Promise.allSettled(others);
      const error = await assertRejects(() =>
        engine.generate(request, {
          onProgress: (progress) => {
            if (progress.phase !== phase || isLost) return;
            isLost = true;
            Deno.kill(victim, signal);
          },
        }), WorkerError);
      assertEquals(error.rank, 1);
      assertMatch(error.message, new RegExp(`^Lost rank 1 in ${phase}`));
      assertMatch(error.message, /niah_multikey_2/);
      await waitUntilEnded(children.map(({ pid }) => pid), { timeoutMs: PATIENCE_MS });
      for (const other of await settled) {
        assert(other.status === "rejected" && other.reason instanceof WorkerError);
      }
      await engine[Symbol.asyncDispose]();
      assertEquals(leftovers("starx"), []);
    });
  }
}
