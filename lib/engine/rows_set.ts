/**
 * Which instruction set of a CPU multiplies the few rows of a decode step, where that is not known
 * beforehand: such products wait for memory, and a set that is the fastest at computing need not be the
 * fastest at reading.
 *
 * The library names the sets that may be faster on this machine; mostly there is none, and nothing is
 * measured. Sets add in different orders, so that whoever starts a run chooses for all of its ranks, and a
 * run that is continued takes what its record says.
 *
 * @module
 */
import { openCpuDevice, requestedSets } from "../device/cpu.ts";
import { describeCpu } from "../device/cpu_description.ts";
import type { Device } from "../device/device.ts";
import { type DeviceKind, threadsPerProcess } from "../device/open.ts";
import { Tensor } from "../device/tensor.ts";
import { DeviceError } from "../errors.ts";
import { type InstructionSet, ROWS_SETS, type RowsSetName } from "../ffi/status.ts";
import { matmulRows } from "../ops/matmul_rows.ts";

/** A set with what its products take. */
export interface RowsTiming {
  readonly set: string;
  /** Of one row and of eight rows. */
  readonly ms: readonly [number, number];
}

/** The outcome. */
export interface RowsChoice {
  /** The set that multiplies rows, or `own`. */
  readonly set: string;
  /** Of all sets that were compared, the one that computes everything else first. */
  readonly timings: readonly RowsTiming[];
}

/** A matrix of 64 MiB, more than the caches of most machines. */
const OUTPUTS = 16_384;
const INPUTS = 2_048;
/** Files put matrices at any multiple of 8 bytes. */
const OFFSET_ELEMENTS = 4;
const ROWS = [1, 8] as const;
const ROUNDS = 3;
/** Another set has to be faster by this much: what is nearly the same is to turn out the same. */
const LEAST_GAIN = 0.05;

/** What was measured first, by the sets that were compared. */
const measurements = new Map<string, Promise<RowsChoice | undefined>>();

/**
 * What multiplies the rows of a run on CPUs: what STARX_ISA says, else what the record of the run says
 * that is continued, else what is the fastest on this machine. This process measures once, whatever
 * other threads it is asked about later: its runs are to give the same bits.
 *
 * @param options `device`: a GPU has no such sets. `threads`: of a process; 0 for all cores.
 * @throws {DeviceError} If the library is missing or damaged, STARX_ISA names no set, or the machine
 * lacks the set of the record.
 */
export async function rowsSetFor(
  options: { device: DeviceKind; threads: number; recorded?: RowsSetName | undefined },
): Promise<RowsSetName> {
  if (options.device !== "cpu") return "own";
  const { base, rows } = requestedSets("auto");
  if (base !== "auto") return rows === base ? "own" : nameOf(rows);
  const { recorded } = options;
  if (recorded === undefined) return nameOf((await measuredOnce(options))?.set);
  if (recorded === "own") return recorded;
  const { instructionSets } = await describeCpu();
  if (instructionSets.includes(recorded)) return recorded;
  throw new DeviceError(
    `Cannot continue the results as the machine and the library must have ${recorded}, which ` +
      `multiplied the rows of their decode steps (rows_set in run.json): ` +
      `current value is ${instructionSets.join(", ") || "none"}`,
  );
}

async function measuredOnce(options: { threads: number }): Promise<RowsChoice | undefined> {
  const { best, rows } = await describeCpu();
  const sets = [best, ...rows].join("+");
  const known = measurements.get(sets) ?? measureRowsSet(options);
  measurements.set(sets, known);
  // What failed once may work later.
  known.catch(() => measurements.delete(sets));
  return await known;
}

/**
 * The set that STARX_ISA makes a CPU compute everything else with, where that is not what it would take
 * by itself: it adds in another order, and results are bound to it.
 *
 * @throws {DeviceError} If the library is missing or damaged, or STARX_ISA names no set.
 */
export async function forcedSet(device: DeviceKind): Promise<InstructionSet | undefined> {
  if (device !== "cpu") return undefined;
  const { base } = requestedSets("auto");
  if (base === "auto" || base === (await describeCpu()).best) return undefined;
  return base;
}

function nameOf(set: string | undefined): RowsSetName {
  return ROWS_SETS.find((name) => name === set) ?? "own";
}

/**
 * Measures which set multiplies this machine's rows.
 *
 * @param options `threads`: of a process; 0 for all cores.
 * @returns Its `set` is `own` for the one that does everything else. Undefined if there is nothing to
 * choose, so that nothing was measured.
 * @throws {DeviceError} If the library is missing or damaged.
 */
export async function measureRowsSet(
  options: { threads: number },
): Promise<RowsChoice | undefined> {
  const { best, rows } = await describeCpu();
  if (rows.length === 0) return undefined;
  const threads = threadsPerProcess(options.threads, { processCount: 1 });
  return await confirmedChoice(() => timeSets([best, ...rows], { threads }));
}

/**
 * What timings say, where those that speak for another set are taken once more: on a busy machine the
 * own one may have had no moment to itself. The least of both counts.
 */
export async function confirmedChoice(
  time: () => Promise<readonly RowsTiming[]>,
): Promise<RowsChoice> {
  const first = chosen(await time());
  if (first.set === "own") return first;
  const again = await time();
  return chosen(first.timings.map(({ set, ms: [one, eight] }, index) => {
    const [oneAgain, eightAgain] = again[index]?.ms ?? [Infinity, Infinity];
    return { set, ms: [Math.min(one, oneAgain), Math.min(eight, eightAgain)] };
  }));
}

/** What timings say: `own`, the first set, unless another one is faster by a clear margin. */
export function chosen(timings: readonly RowsTiming[]): RowsChoice {
  const total = ({ ms: [one, eight] }: RowsTiming) => one + eight;
  const [first, ...others] = timings;
  if (first === undefined) throw new RangeError("Cannot choose a set as there must be one");
  const best = others.reduce((a, b) => total(b) < total(a) ? b : a, first);
  const isClear = total(best) < (1 - LEAST_GAIN) * total(first);
  return { set: isClear ? best.set : "own", timings };
}

/** Times sets in turn; the least of some rounds counts. */
export async function timeSets(
  sets: readonly string[],
  options: { threads: number; outputs?: number },
): Promise<readonly RowsTiming[]> {
  const { threads, outputs = OUTPUTS } = options;
  using owned = new DisposableStack();
  const devices: Device[] = [];
  for (const set of sets) {
    devices.push(owned.use(await openCpuDevice({ threads, instructionSet: set })));
  }
  const [first] = devices;
  if (first === undefined) return [];
  const count = outputs * INPUTS;
  const numbers = owned.use(allocate(first, [count + OFFSET_ELEMENTS]));
  // Pages that nobody wrote to are one page of zeros, which lies in a cache.
  numbers.hostBytes().fill(0x3c);
  const memory = {
    pointer: numbers.address,
    byteLength: numbers.byteLength,
    bytes: numbers.hostBytes(),
  };
  const weightOn = (device: Device) =>
    Tensor.foreign(device, {
      ...{ dtype: "bf16", shape: [outputs, INPUTS], label: "weights", keepAlive: memory },
      address: numbers.address + BigInt(2 * OFFSET_ELEMENTS),
    });
  const ms = sets.map(() => ROWS.map(() => Infinity));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, device] of devices.entries()) {
      for (const [i, rows] of ROWS.entries()) {
        using x = allocate(device, [rows, INPUTS]);
        using out = Tensor.allocate(device, { dtype: "f32", shape: [rows, outputs], label: "out" });
        const startMs = performance.now();
        await matmulRows(device, { out, x, weight: weightOn(device) });
        const own = ms[index];
        if (own !== undefined) own[i] = Math.min(own[i] ?? Infinity, performance.now() - startMs);
      }
    }
  }
  return sets.map((set, index) => ({ set, ms: [ms[index]?.[0] ?? NaN, ms[index]?.[1] ?? NaN] }));
}

function allocate(device: Device, shape: readonly number[]): Tensor {
  return Tensor.allocate(device, { dtype: "bf16", shape, label: "what sets are compared with" });
}
