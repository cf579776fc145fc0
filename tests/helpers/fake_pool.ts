/**
 * Pools of fake ranks.
 *
 * @module
 */
import { type PoolOptions, WorkerPool } from "../../lib/team/pool.ts";
import { assert, assertEquals } from "./assert.ts";
import type { FakeRequest, FakeTypes } from "./fake_rank.ts";
import { isRunning, leftovers } from "./processes.ts";

/** The module of the fake ranks. */
export const ENTRY = new URL("fake_rank.ts", import.meta.url);
const PARENT = new URL("fake_parent.ts", import.meta.url);
/** Processes that do not end by themselves are waited for no longer. */
export const PATIENCE_MS = 60_000;

/** Starts a pool of fake ranks. */
export function startPool(
  size: number,
  options: Partial<PoolOptions> = {},
): Promise<WorkerPool<FakeTypes>> {
  return WorkerPool.start<FakeTypes>({ greeting: "hello" }, {
    entry: ENTRY,
    size,
    permissions: [],
    timeoutMs: 20_000,
    ...options,
  });
}

/** Waits. */
export function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

/** A request on its way. */
export interface Working {
  readonly results: Promise<FakeTypes["result"][]>;
  /** What each rank has reported last. */
  readonly done: number[];
}

/** Gives a pool a request and waits until all its ranks are at it. */
export async function untilWorking(
  pool: WorkerPool<FakeTypes>,
  request: FakeRequest,
): Promise<Working> {
  const done: number[] = [];
  const all = Promise.withResolvers<void>();
  const results = pool.run(request, {
    onProgress: (progress, rank) => {
      done[rank] = progress.done;
      if (Object.keys(done).length === pool.size) all.resolve();
    },
  });
  // Whoever asks for the results hears of it.
  results.catch(() => {});
  await Promise.race([all.promise, results]);
  return { results, done };
}

/** The processes of all ranks. */
export function pidsOf(pool: WorkerPool<FakeTypes>): number[] {
  return pool.ready.map(({ pid }) => pid);
}

/** The process of a rank. */
export function pidOf(pool: WorkerPool<FakeTypes>, rank: number): number {
  const pid = pidsOf(pool)[rank];
  assert(pid !== undefined, `there is no rank ${rank}`);
  return pid;
}

/** Checks that nothing is left of a pool that failed. */
export function assertNothingLeft(pool: WorkerPool<FakeTypes>): void {
  assertEquals(pidsOf(pool).filter(isRunning), []);
  assertEquals(leftovers("memfd:starx"), []);
}

/** Starts the program that owns a pool, with exactly the permissions that it needs. */
export async function startParent(
  entry: URL,
  options: { request: FakeRequest; program?: URL },
): Promise<{ parent: Deno.ChildProcess; pids: number[]; rest: () => Promise<string> }> {
  const { request, program = PARENT } = options;
  const run = `--allow-run=${Deno.execPath()}`;
  const parent = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--allow-ffi", run, program.href, entry.href, "2"]
      .concat(JSON.stringify(request)),
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = parent.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the parent ended without a line: ${text}`);
    text += value;
  }
  const end = text.indexOf("\n");
  const rest = async () => {
    let tail = text.slice(end + 1);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return tail;
      tail += value;
    }
  };
  return { parent, pids: JSON.parse(text.slice(0, end)), rest };
}
