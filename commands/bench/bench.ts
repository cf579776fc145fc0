/**
 * The `bench` command: times prefill and decoding of a model, or of random weights of a shape, on
 * one process or on several that share the context.
 *
 * Every run prefills the same tokens: those of a text, or of a linear congruential generator.
 *
 * @module
 */
import { type CheckedPlan, checkPlan, sharesContext } from "../../lib/attention/plan.ts";
import { rowsSetFor } from "../../lib/engine/rows_set.ts";
import { checkPlanTable } from "../../lib/engine/threshold_check.ts";
import { invariant, UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { openTeam } from "../../lib/team/open_team.ts";
import type { Team, TeamPlace } from "../../lib/team/team.ts";
import { encodeInt32 } from "../../lib/team/protocol.ts";
import { announcedDevice } from "../shared/device.ts";
import type { Cleanup } from "../shared/model_session.ts";
import type { BenchOptions, BenchOutput } from "./options.ts";
import { BenchPrinter, type ModeMemory } from "./printer.ts";
import type { BenchRequest, RankMemory, RankTimes } from "./rank.ts";
import type { ModeReport } from "./report.ts";
import { BENCH_PROGRAM, type BenchTypes } from "./team.ts";
import { benchText } from "./text.ts";
import type { DecodeTiming, PrefillTiming } from "./timings.ts";

/** What a bench runs with. */
export interface BenchContext {
  /** The processes that a launcher started, this one being rank 0 of them, in place of children. */
  readonly group?: RankGroup | undefined;
  /** @default {Cleanup} Nothing is printed for whoever interrupts the bench. */
  readonly cleanup?: Cleanup | undefined;
}

/**
 * Times every mode and prints each measurement when it is there.
 *
 * @returns The reports, in the order of the modes.
 * @throws {UsageError} If sizes, stride, threshold or a mode cannot be used.
 * @throws {FileError} If the model is missing or damaged.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a rank is lost; what was measured is printed.
 */
export async function runBench(
  options: BenchOptions,
  output: BenchOutput,
  context: BenchContext = {},
): Promise<ModeReport[]> {
  const { group } = context;
  const { model, decodeContexts, batchSize } = options;
  const processCount = group?.size ?? options.processCount;
  const modes = options.modes.map((mode) => ({ mode, plan: checkPlan({ ...options, mode }) }));
  const plans = modes.map(({ plan }) => plan);
  for (const { mode, plan } of modes) {
    if (processCount === 1 || sharesContext(plan)) continue;
    throw new UsageError(
      `--attn_type: must be star, starx, ring or ringx with ${processCount} processes: ` +
        `current value is '${mode}'`,
    );
  }
  const config = model.kind === "folder" ? await readConfig(model.folder) : model.config;
  const folder = model.kind === "folder" ? { folder: model.folder } : {};
  for (const plan of plans) await checkPlanTable(plan, { ...folder, config });
  const { device, announce } = await announcedDevice(config, options, (line) => output.note(line));
  const count = Math.max(...options.lengths, ...decodeContexts.map((n) => n + batchSize - 1));
  const text = await benchText(options, { count, ...config });
  const { threads } = options;
  const rowsSet = await rowsSetFor({ device, threads });
  announce();
  output.note(`${device}: loading`);
  const textIds = text && encodeInt32(text.ids);
  const place = placeOf(processCount, { ...options, group });
  await using team = await openTeam(BENCH_PROGRAM, {
    ...{ options, plans, device, threads, rowsSet, textIds },
  }, place);
  const [facts] = team.ready;
  invariant(facts !== undefined, "a team has a rank 0");
  const printer = new BenchPrinter(options, output);
  using _interrupted = context.cleanup?.onInterrupt(() => printer.end());
  try {
    for (const [i, { mode, plan }] of modes.entries()) {
      const promptName = text?.name ?? "random tokens";
      const withRates = decodeContexts.length > 0 && i === plans.length - 1;
      printer.open({ mode, plan, options, config, processCount, promptName, ...facts });
      await timeMode(team, { plan, options, output, printer, withRates });
    }
  } finally {
    await printer.end();
  }
  return printer.reports;
}

/** Asks the ranks for every measurement of a mode. */
async function timeMode(
  team: Team<BenchTypes>,
  run: {
    plan: CheckedPlan;
    options: BenchOptions;
    output: BenchOutput;
    printer: BenchPrinter;
    withRates: boolean;
  },
): Promise<void> {
  const { plan, options, output, printer, withRates } = run;
  const ask = async (request: BenchRequest): Promise<RankTimes[]> =>
    await team.run(request, {
      onProgress: (line, rank) => rank === 0 && output.note(line),
    });
  await ask({ kind: "open", plan });
  for (const tokens of options.lengths) {
    const times = await ask({ kind: "prefill", tokens });
    printer.addPrefill(joinPrefills(times.flatMap(({ prefill }) => prefill ?? [])));
  }
  for (const context of options.decodeContexts) {
    const times = await ask({ kind: "decode", context });
    printer.addDecode(joinDecodes(times.flatMap(({ decode }) => decode ?? [])));
  }
  const closed = await ask({ kind: "close", withRates });
  printer.close(joinMemory(closed.flatMap(({ memory }) => memory ?? [])));
}

/** How long a rank may make no progress. */
const TIMEOUT_MS = 120_000;

function placeOf(
  size: number,
  options: { group: RankGroup | undefined; startTimeoutMs?: number | undefined },
): TeamPlace {
  const { group, startTimeoutMs } = options;
  if (group !== undefined) return { kind: "launched", group, timeoutMs: TIMEOUT_MS };
  if (size === 1) return { kind: "alone" };
  return { kind: "children", size, timeoutMs: TIMEOUT_MS, startTimeoutMs };
}

/** The slowest rank counts; where the time went is that of the rank whose ops took longest. */
function joinPrefills(all: readonly PrefillTiming[]): PrefillTiming {
  const [first] = all;
  invariant(first !== undefined, "every rank timed the prefill");
  const opSeconds = ({ costs }: PrefillTiming) => costs.matmulS + costs.attentionS;
  const busiest = all.reduce((a, b) => opSeconds(b) > opSeconds(a) ? b : a);
  const seconds = first.seconds.map((_, run) => slowest(all, (rank) => rank.seconds[run]));
  return { ...busiest, seconds };
}

function joinDecodes(all: readonly DecodeTiming[]): DecodeTiming {
  const [first] = all;
  invariant(first !== undefined, "every rank timed the decoding");
  const longest = all.reduce((a, b) => b.seconds > a.seconds ? b : a);
  return { ...longest, sampleSeconds: slowest(all, ({ sampleSeconds }) => sampleSeconds) };
}

function joinMemory(all: readonly RankMemory[]): ModeMemory {
  return {
    rssMib: slowest(all, ({ rssMib }) => rssMib),
    deviceMib: slowest(all, ({ deviceMib }) => deviceMib),
    copyGbPerS: all[0]?.copyGbPerS ?? NaN,
    readGbPerS: all[0]?.readGbPerS ?? NaN,
  };
}

function slowest<T>(all: readonly T[], of: (rank: T) => number | undefined): number {
  return Math.max(...all.map((rank) => of(rank) ?? 0));
}
