/**
 * Worker processes that are killed or stopped while a model runs on them, in both phases.
 *
 * @module
 */
import { WorkerError } from "../../lib/errors.ts";
import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "../helpers/assert.ts";
import { childrenOf, leftovers, waitUntilEnded } from "../helpers/processes.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";

const HANG_MS = 1_500;
/** All processes end within this time after a loss is noticed. */
const PROMISED_MS = 10_000;

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
      let lostMs = 0;
      // Others are in flight, too, and end by the same loss.
      const others = ["first", "second"].map((sample) => engine.generate({ ...request, sample }));
      const settled = Promise.allSettled(others);
      const error = await assertRejects(() =>
        engine.generate(request, {
          onProgress: (progress) => {
            if (progress.phase !== phase || lostMs > 0) return;
            lostMs = performance.now();
            Deno.kill(victim, signal);
          },
        }), WorkerError);
      assertLess(performance.now() - lostMs, PROMISED_MS + HANG_MS);
      assertEquals(error.rank, 1);
      assertMatch(error.message, new RegExp(`^Lost rank 1 in ${phase}`));
      assertMatch(error.message, /niah_multikey_2/);
      for (const other of await settled) {
        assert(other.status === "rejected" && other.reason instanceof WorkerError);
      }
      await waitUntilEnded(children.map(({ pid }) => pid), { timeoutMs: PROMISED_MS });
      await engine[Symbol.asyncDispose]();
      assertEquals(leftovers("starx"), []);
    });
  }
}
