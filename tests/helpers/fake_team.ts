/**
 * Pools of fake ranks.
 *
 * @module
 */
import { ChildTeam, type ChildTeamOptions } from "../../lib/team/child_team.ts";
import { assert, assertEquals } from "./assert.ts";
import type { FakeRequest, FakeTypes } from "./fake_rank.ts";
import { isRunning, leftovers } from "./processes.ts";

/** The module of the fake ranks. */
export const ENTRY = new URL("fake_rank.ts", import.meta.url);
const PARENT = new URL("fake_parent.ts", import.meta.url);
/** Processes that do not end by themselves are waited for no longer. */
export const PATIENCE_MS = 60_000;

/** Starts a team of fake ranks. */
export function startTeam(
  size: number,
  options: Partial<ChildTeamOptions> = {},
): Promise<ChildTeam<FakeTypes>> {
  return ChildTeam.start<FakeTypes>({ greeting: "hello" }, {
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

/** Gives a team a request and waits until all its ranks are at it. */
export async function untilWorking(
  team: ChildTeam<FakeTypes>,
  request: FakeRequest,
): Promise<Working> {
  const done: number[] = [];
  const all = Promise.withResolvers<void>();
  const results = team.run(request, {
    onProgress: (progress, rank) => {
      done[rank] = progress.done;
      if (Object.keys(done).length === team.size) all.resolve();
    },
  });
  // Whoever asks for the results hears of it.
  results.catch(() => {});
  await Promise.race([all.promise, results]);
  return { results, done };
}

/** The processes of all ranks. */
export function pidsOf(team: ChildTeam<FakeTypes>): number[] {
  return team.ready.map(({ pid }) => pid);
}

/** The process of a rank. */
export function pidOf(team: ChildTeam<FakeTypes>, rank: number): number {
  const pid = pidsOf(team)[rank];
  assert(pid !== undefined, `there is no rank ${rank}`);
  return pid;
}

/** Checks that nothing is left of a team that failed. */
export function assertNothingLeft(team: ChildTeam<FakeTypes>): void {
  assertEquals(pidsOf(team).filter(isRunning), []);
  assertEquals(leftovers("memfd:starx"), []);
}

/** Starts the program that owns a team, with exactly the permissions that it needs. */
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
