/**
 * Times what ranks exchange: the parts of a token's layer, a layer of the anchor, a layer of the
 * ring. `deno run -A scripts/time_exchange.ts [--device cuda] [--ranks 2] [--json_path FILE]`
 *
 * Sizes are those of an 8B Llama. Where exchanges can be recorded, as between GPUs over NCCL, the
 * parts of a token's layers are recorded in one go and started together, as a step starts them; the
 * time of one is a share of that, by the GPU's own clock. All others are started one by one.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { appendLine } from "../commands/bench/options.ts";
import { median } from "../commands/bench/timings.ts";
import type { Device } from "../lib/device/device.ts";
import { chooseDevice, type DeviceKind } from "../lib/device/open.ts";
import { Tensor } from "../lib/device/tensor.ts";
import { connectDevices, exchangeName } from "../lib/engine/exchange.ts";
import { gpuEnvironments, openRankDevices } from "../lib/engine/rank_device.ts";
import { workerPermissions } from "../lib/engine/star_program.ts";
import { errorText, EXIT_CODES, invariant, UsageError } from "../lib/errors.ts";
import { modelShape } from "../lib/model/shapes.ts";
import { partElements } from "../lib/ops/merge_states.ts";
import type { Collective } from "../lib/parallel/collective.ts";
import { exchangeOn, gatherTensors } from "../lib/parallel/device_exchange.ts";
import { oneAtATime } from "../lib/team/one_at_a_time.ts";
import { openTeam } from "../lib/team/open_team.ts";
import type { RankContext, RankProgram, RankService } from "../lib/team/program.ts";
import { serveRank } from "../lib/team/serve.ts";

const HELP = `Times the exchanges of ranks.

Usage: deno run -A scripts/time_exchange.ts [flags]

  --device NAME     auto, cpu or cuda (default auto)
  --ranks N         processes, at least 2 (default 2)
  --tokens N        of a ring's context, in blocks of an eighth for the anchor (default 131072)
  --rounds N        timed exchanges of each kind (default 20)
  --json_path FILE  appends the line of JSON to a file, too
`;

/** What is exchanged. */
interface Exchange {
  /** `step`: of a token, all layers together; `anchor`: keys of a layer; `ring`: keys of a layer. */
  readonly what: "step" | "anchor" | "ring";
  /** Of each rank; of rank 0 alone in `anchor`. */
  readonly bytes: number;
}

/** How long one took, in microseconds. */
interface ExchangeTime extends Exchange {
  readonly us: number;
  readonly us_90: number;
  /** Whether several were recorded and started together. */
  readonly recorded: boolean;
}

/** What every rank is told. */
interface ExchangeInit {
  readonly device: DeviceKind;
  readonly exchanges: readonly Exchange[];
  /** Exchanges of a step. */
  readonly layers: number;
  readonly rounds: number;
}

/** What the team's messages carry. */
interface ExchangeTypes {
  init: ExchangeInit;
  ready: { readonly device: string; readonly exchange: string };
  request: Exchange;
  result: ExchangeTime;
  progress: never;
}

const ENTRY = new URL(import.meta.url);

const PROGRAM: RankProgram<ExchangeTypes> = {
  name: "exchange",
  entry: ENTRY,
  permissions: workerPermissions(ENTRY),
  environment: (init, size) => init.device === "cuda" ? gpuEnvironments(size) : undefined,
  load,
};

/** How long a rank may make no progress. */
const TIMEOUT_MS = 30_000;
const WARM_UPS = 3;

if (import.meta.main) {
  // A rank is told its number; see lib/team/child.ts.
  if (Deno.args[0]?.startsWith("--rank=") === true) await serveRank(PROGRAM);
  Deno.exit(await main());
}

async function main(): Promise<number> {
  const write = (text: string) => Deno.stdout.write(new TextEncoder().encode(text));
  try {
    const { values } = parseArgs({
      options: {
        device: { type: "string", default: "auto" },
        ranks: { type: "string", default: "2" },
        tokens: { type: "string", default: "131072" },
        rounds: { type: "string", default: "20" },
        json_path: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true) {
      await write(HELP);
      return EXIT_CODES.done;
    }
    const [ranks = 0, tokens = 0, rounds = 0] = [values.ranks, values.tokens, values.rounds]
      .map(Number);
    const { device } = values;
    if (device !== "auto" && device !== "cpu" && device !== "cuda") {
      throw new UsageError(`--device: must be auto, cpu or cuda: current value is '${device}'`);
    }
    for (const [name, value, least] of [["ranks", ranks, 2], ["rounds", rounds, 1]] as const) {
      if (Number.isInteger(value) && value >= least) continue;
      throw new UsageError(`--${name}: must be ${least} or more: current value is '${value}'`);
    }
    const { kind } = await chooseDevice(device, { dtype: "bf16" });
    const line = JSON.stringify(await timeExchanges({ kind, ranks, tokens, rounds }));
    await write(`${line}\n`);
    await appendLine(values.json_path, line);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`time_exchange: ${errorText(error)}\n`));
    return error instanceof UsageError ? EXIT_CODES.usage : EXIT_CODES.device;
  }
}

/** A record of all exchanges of as many ranks. */
async function timeExchanges(
  options: { kind: DeviceKind; ranks: number; tokens: number; rounds: number },
): Promise<Record<string, unknown>> {
  const { kind: device, ranks, tokens, rounds } = options;
  const config = modelShape("llama-3.1-8b");
  invariant(config !== undefined, "the shape is in the list");
  const { layerCount: layers, kvHeads, queryHeads: heads, headDim } = config;
  const rowBytes = 2 * kvHeads * headDim;
  const exchanges: Exchange[] = [
    { what: "step", bytes: 4 * partElements({ tokens: 1, heads, headDim }) },
    { what: "anchor", bytes: Math.ceil(tokens / 8) * rowBytes },
    { what: "ring", bytes: Math.ceil(tokens / ranks) * rowBytes },
  ];
  const init = { device, exchanges, layers, rounds };
  const place = { kind: "children", size: ranks, timeoutMs: TIMEOUT_MS } as const;
  await using team = await openTeam(PROGRAM, init, place);
  const [facts] = team.ready;
  const times: ExchangeTime[] = [];
  for (const exchange of exchanges) {
    const found = await team.run(exchange);
    // Whoever comes last waits for nobody: the others' times are longer by what they waited.
    times.push(found.reduce((a, b) => b.us < a.us ? b : a));
  }
  return { what: "exchange", ranks, ...facts, times };
}

async function load(
  init: ExchangeInit,
  context: RankContext<ExchangeTypes>,
): Promise<RankService<ExchangeTypes>> {
  const { collective: host, hangTimeoutMs: timeoutMs, carrier } = context;
  using owned = new DisposableStack();
  const { devices, hasOwnGpus } = await openRankDevices({
    ...{ kind: init.device, threads: 1, host, gpusPerRank: 1, maxGpus: 1, isEnough: () => true },
  });
  for (const device of devices) owned.use(device);
  const [device] = devices;
  invariant(device !== undefined, "a rank has a device");
  const collective = owned.use(await connectDevices(devices, { host, hasOwnGpus, timeoutMs }));
  const kept = owned.move();
  return oneAtATime(context, {
    ready: { device: device.description, exchange: exchangeName(collective, carrier) },
    run: (exchange) => timeExchange(exchange, { init, device, collective, context }),
    dispose: () => kept.dispose(),
  });
}

async function timeExchange(
  { what, bytes }: Exchange,
  rank: {
    init: ExchangeInit;
    device: Device;
    collective: Collective;
    context: RankContext<ExchangeTypes>;
  },
): Promise<ExchangeTime> {
  const { init: { layers, rounds }, device, collective, context: { status } } = rank;
  const exchange = exchangeOn(collective, device);
  const shape = (ranks: number) => ({ dtype: "bf16", shape: [ranks * bytes / 2] } as const);
  using part = Tensor.allocate(device, { ...shape(1), label: "own part" });
  using out = Tensor.allocate(device, {
    ...shape(what === "anchor" ? 0 : collective.size),
    label: "parts of all ranks",
  });
  const count = what === "step" ? layers : 1;
  const start = async () => {
    for (let i = 0; i < count; i++) {
      if (what === "anchor") await exchange.broadcastRegion(part, { root: 0 });
      else await gatherTensors(exchange, { part, out });
    }
  };
  // What the library sets up for a size is not recorded, nor timed.
  for (let i = 0; i < WARM_UPS; i++) await start();
  await device.kernels.idle();
  using recorded = what === "step" && exchange.canBeRecorded
    ? await device.recorder?.record(start)
    : undefined;
  const times: number[] = [];
  for (let round = 0; round < WARM_UPS + rounds; round++) {
    status.advance();
    await collective.barrier();
    const us = await timeOnce(device, async () => {
      if (recorded === undefined) return await start();
      await recorded.run();
      exchange.watchRecorded();
    });
    if (round >= WARM_UPS) times.push(us / count);
  }
  times.sort((a, b) => a - b);
  const us_90 = round1(times[Math.floor(0.9 * times.length)] ?? NaN);
  return { what, bytes, us: round1(median(times)), us_90, recorded: recorded !== undefined };
}

/** Microseconds: of the device's clock where it has one. */
async function timeOnce(device: Device, start: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  device.clock?.mark();
  await start();
  device.clock?.mark();
  await device.kernels.idle();
  const [ms = performance.now() - startMs] = await device.clock?.read() ?? [];
  return 1000 * ms;
}

function round1(value: number): number {
  return Number(value.toFixed(1));
}
