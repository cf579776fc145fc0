/**
 * The `bench` command: times prefill and decoding of a model, or of random weights of a shape, on
 * one process or on several that share the context.
 *
 * Token ids come from a linear congruential generator, so that every run computes the same.
 *
 * @module
 */
import { checkPlan, sharesContext } from "../../lib/attention/plan.ts";
import { chooseDevice } from "../../lib/device/open.ts";
import { invariant, UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import type { RankGroup } from "../../lib/team/group.ts";
import { openTeam } from "../../lib/team/open_team.ts";
import type { TeamPlace } from "../../lib/team/team.ts";
import { appendLine, type BenchOptions, type BenchOutput } from "./options.ts";
import type { RankTimes } from "./rank.ts";
import { detailsJson, detailsText, type ModeReport, timesJson } from "./report.ts";
import { BENCH_PROGRAM } from "./team.ts";

/**
 * Times every mode and prints a report of each.
 *
 * @param ranks `group`: the processes that a launcher started, this one being rank 0 of them; they
 * take the place of children.
 * @returns The reports, in the order of the modes.
 * @throws {UsageError} If sizes, stride, threshold or a mode cannot be used.
 * @throws {FileError} If the model is missing or damaged.
 * @throws {DeviceError} If the device cannot be used.
 * @throws {WorkerError} If a rank is lost.
 */
export async function runBench(
  options: BenchOptions,
  output: BenchOutput,
  ranks: { group?: RankGroup | undefined } = {},
): Promise<ModeReport[]> {
  const { group } = ranks;
  const { model, decodeContexts } = options;
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
  const { kind: device, note } = await chooseDevice(options.device, options);
  if (note !== undefined) output.note(note);
  const { threads } = options;
  output.note(`${device}: loading`);
  const init = { options, plans, device, threads };
  await using team = await openTeam(
    BENCH_PROGRAM,
    init,
    placeOf(processCount, { ...options, group }),
  );
  const [facts] = team.ready;
  invariant(facts !== undefined, "a team has a rank 0");
  const reports: ModeReport[] = [];
  for (const [i, { mode, plan }] of modes.entries()) {
    const withCopy = decodeContexts.length > 0 && i === plans.length - 1;
    const times = await team.run({ plan, withCopy }, {
      onProgress: (line, rank) => rank === 0 && output.note(line),
    });
    reports.push({ mode, plan, options, config, processCount, ...facts, ...joinTimes(times) });
  }
  const copyGbPerS = reports.at(-1)?.copyGbPerS ?? NaN;
  const full = reports.map((report) => ({ ...report, copyGbPerS }));
  for (const report of full) {
    const json = detailsJson(report);
    output.print(options.json ? `${json}\n${timesJson(report)}\n` : detailsText(report));
    await appendLine(options.jsonPath, json);
  }
  return full;
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
function joinTimes(
  times: readonly RankTimes[],
): Pick<ModeReport, "prefill" | "decode" | "rssMib" | "deviceMib" | "copyGbPerS"> {
  const [first] = times;
  const slowest = (of: (rank: RankTimes) => number | undefined) =>
    Math.max(...times.map((rank) => of(rank) ?? 0));
  return {
    prefill: (first?.prefill ?? []).map((timing, i) => {
      const all = times.flatMap(({ prefill }) => prefill[i] ?? []);
      const opSeconds = ({ costs }: typeof timing) => costs.matmulS + costs.attentionS;
      const busiest = all.reduce((a, b) => opSeconds(b) > opSeconds(a) ? b : a);
      const seconds = timing.seconds.map((_, run) =>
        Math.max(...all.map((rank) => rank.seconds[run] ?? 0))
      );
      return { ...busiest, seconds };
    }),
    decode: (first?.decode ?? []).map(({ context, batch }, i) => ({
      context,
      batch,
      seconds: slowest(({ decode }) => decode[i]?.seconds),
      sampleSeconds: slowest(({ decode }) => decode[i]?.sampleSeconds),
    })),
    rssMib: slowest(({ rssMib }) => rssMib),
    deviceMib: slowest(({ deviceMib }) => deviceMib),
    copyGbPerS: first?.copyGbPerS ?? NaN,
  };
}
