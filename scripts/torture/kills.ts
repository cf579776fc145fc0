/**
 * Signals at random moments, to the program and to its workers, and what is there when the run has
 * been continued to its end.
 *
 * @module
 */
import type { Dice } from "./dice.ts";
import {
  family,
  hangMs,
  pause,
  type Running,
  send,
  slowness,
  startProgram,
  stillRunning,
  wholeMs,
} from "./programs.ts";
import {
  argsOf,
  compareBeginning,
  continueRun,
  recordCount,
  type Reference,
  type References,
  type Setup,
  writeInput,
} from "./runs.ts";
import { type Fault, judge, type Outcome } from "./tally.ts";

/** What happens to a run. */
interface Blow {
  readonly target: "parent" | "worker";
  readonly signal: Deno.Signal;
  /** A stopped process is continued after this time; undefined leaves it so. */
  readonly continueMs?: number | undefined;
  /** Waits for so many records first; 0 for none. */
  readonly records: number;
  readonly delayMs: number;
}

/** A trial. */
export interface KillTrial {
  readonly setup: Setup;
  readonly blows: readonly Blow[];
  readonly what: string;
}

/** How long the program waits for a rank that is stopped. */
const TIMEOUT_S = 3;
/** All processes are gone so long after the first one. */
const GONE_MS = 10_000;
/** Looks after records and workers. */
const LOOK_MS = 4;

/** Draws a trial. */
export function drawKill(dice: Dice, options: { ranks: number; withBatch: boolean }): KillTrial {
  const setup: Setup = {
    command: dice.chance(0.7) ? "infer" : "ruler",
    // Most with few: each process takes its time to start.
    ranks: Math.min(options.ranks, dice.pick([1, 1, 1, 2, 2, 2, 3, 4])),
    batch: options.withBatch ? 2 + dice.below(3) : 1,
  };
  const count = 1 + Number(dice.chance(0.3)) + Number(dice.chance(0.1));
  const blows = Array.from({ length: count }, () => drawBlow(dice, setup));
  const said = blows.map(({ target, signal, continueMs, records, delayMs }) =>
    `${signal}${continueMs === undefined ? "" : ` for ${continueMs} ms`} to ${target} ` +
    `${delayMs} ms after ${records > 0 ? `record ${records}` : "the start"}`
  );
  const { command, ranks, batch } = setup;
  return { setup, blows, what: `${command} -np ${ranks} -b ${batch}: ${said.join(", ")}` };
}

function drawBlow(dice: Dice, setup: Setup): Blow {
  const target = setup.ranks > 1 && dice.chance(0.5) ? "worker" : "parent";
  const signals = ["SIGKILL", "SIGKILL", "SIGSTOP", "SIGTERM", "SIGINT", "SIGHUP"] as const;
  const signal = dice.pick(signals);
  // A parent that stays stopped is a user's wish; a worker that does is lost.
  const isContinued = signal === "SIGSTOP" && (target === "parent" || dice.chance(0.5));
  const records = dice.chance(0.75) ? 1 + dice.below(setup.command === "infer" ? 5 : 2) : 0;
  return {
    ...{ target, signal, records },
    continueMs: isContinued ? 50 + dice.below(1500) : undefined,
    delayMs: records > 0 ? dice.below(60) : dice.below(1800),
  };
}

/** Runs, disturbs, continues to the end, and compares. */
export async function runKill(trial: KillTrial, references: References): Promise<Outcome> {
  const { setup, blows } = trial;
  const reference = await references.of(setup);
  const folder = await Deno.makeTempDir({ prefix: "starx-torture-" });
  const faults: Fault[] = [];
  const counts = { signals_sent: 0, in_flight: 0 };
  try {
    await writeInput(folder);
    for (const blow of blows) {
      const one = await strike(blow, { folder, setup, reference });
      faults.push(...one.faults);
      counts.signals_sent += Number(one.isSent);
      counts.in_flight = Math.max(counts.in_flight, Number(one.isInFlight));
    }
    faults.push(...await continueRun(folder, { setup, reference }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return { how: "well", faults, counts };
}

/** Runs until something happens to it. */
async function strike(
  blow: Blow,
  run: { folder: string; setup: Setup; reference: Reference },
): Promise<{ faults: Fault[]; isSent: boolean; isInFlight: boolean }> {
  const { folder, setup, reference } = run;
  const times = ["--timeout", String(TIMEOUT_S), "--start_timeout", String(2 * TIMEOUT_S)];
  const running = startProgram(argsOf(setup, times), { cwd: folder, timeoutMs: wholeMs() });
  await waitForMoment(blow, { ...run, running });
  const below = running.isOver ? [] : family(running.pid);
  const { count, of } = await recordCount(folder, setup);
  const [worker] = below.slice(blow.delayMs % Math.max(1, below.length));
  const target = blow.target === "parent" ? running.pid : worker;
  const isSent = !running.isOver && target !== undefined && send(target, blow.signal);
  if (isSent) {
    running.limit(hangMs() + (blow.continueMs ?? 0));
    if (blow.continueMs !== undefined) {
      await pause(blow.continueMs);
      send(target, "SIGCONT");
    }
  }
  const ended = await running.ended;
  const faults = [...judge(ended, isSent && blow.target === "parent" ? [blow.signal] : []).faults];
  if ([1, 2, 3, 4].includes(ended.code) && faults.length === 0) {
    faults.push({ kind: "other", text: `exit code ${ended.code}: ${ended.stderr}` });
  }
  faults.push(...await leftBehind(below), ...await compareBeginning(folder, reference));
  // With records on disk and more to come, the batch was computing.
  const isInFlight = isSent && setup.batch > 1 && count >= 1 && count <= of - 2;
  return { faults, isSent, isInFlight };
}

async function waitForMoment(
  blow: Blow,
  run: { folder: string; setup: Setup; running: Running },
): Promise<void> {
  const { folder, setup, running } = run;
  while (blow.records > 0 && !running.isOver) {
    if ((await recordCount(folder, setup)).count >= blow.records) break;
    await pause(LOOK_MS);
  }
  const endMs = performance.now() + blow.delayMs;
  while (!running.isOver && performance.now() < endMs) {
    await pause(Math.min(LOOK_MS, endMs - performance.now()));
  }
  // A worker that is to be hit must be there.
  while (blow.target === "worker" && !running.isOver && family(running.pid).length === 0) {
    await pause(LOOK_MS);
  }
}

async function leftBehind(pids: readonly number[]): Promise<Fault[]> {
  if (pids.length === 0) return [];
  const endMs = performance.now() + GONE_MS * slowness();
  for (;;) {
    const left = stillRunning(pids);
    if (left.length === 0) return [];
    if (performance.now() > endMs) {
      for (const pid of left) send(pid, "SIGKILL");
      return [{ kind: "other", text: `${left.length} processes are left behind` }];
    }
    await pause(50);
  }
}
