/**
 * `bench --kernels`: times each op beside its floor, which is the larger of its operations over the
 * rate of a large product and its bytes over the rate of a loop that only reads, both measured first.
 * A copy's rate is measured, too: memory is seldom written as fast as it is read.
 *
 * @module
 */
import { isTable, thresholdRecord } from "../../lib/attention/thresholds.ts";
import { chooseDevice, openDevice, threadsPerProcess } from "../../lib/device/open.ts";
import { UsageError } from "../../lib/errors.ts";
import { rowsSetFor } from "../../lib/engine/rows_set.ts";
import { ProfiledDevice } from "../../lib/device/profiled.ts";
import { ASSUMED_DENSITY } from "../../lib/ops/attention_block_sparse.ts";
import { copy } from "../../lib/ops/convert.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { readConfig } from "../../lib/model/config.ts";
import { describeDtype } from "../shared/weights.ts";
import { copyRate, fileReadRate, readRate } from "./machine.ts";
import { appendLine, type BenchOptions, type BenchOutput } from "./options.ts";
import { median } from "./timings.ts";
import {
  attentionCases,
  type CaseOptions,
  CaseTensors,
  type KernelCase,
  layerCases,
} from "./kernel_cases.ts";
import { productCases } from "./product_cases.ts";

/** What one op costs. */
export interface KernelTiming {
  readonly name: string;
  /** Of a call: the median. */
  readonly us: number;
  readonly tflops: number;
  readonly gbPerS: number;
  /** What operations and bytes allow at the measured rates. */
  readonly floorUs: number;
}

/** Rates that floors are made of. */
interface Rates {
  /** Of a large product. */
  readonly tflops: number;
  /** Of reading memory, the faster one of a loop that does nothing else and a large copy. */
  readonly gbPerS: number;
}

/** The most rows of products, and a side of the product whose rate is a floor. */
const ROWS = { cpu: 512, cuda: 16_384 } as const;
const SQUARE = { cpu: 1024, cuda: 8192 } as const;
const RATE_RUNS = 5;

/**
 * Times the ops at every length and prints a table, or a line of JSON for each op.
 *
 * @throws {FileError} If the model's folder has no usable configuration.
 * @throws {DeviceError} If the device cannot be used or has not enough memory.
 */
export async function runKernelBench(
  options: BenchOptions,
  output: BenchOutput,
): Promise<KernelTiming[]> {
  const { model, dtype, stride, threshold, density = ASSUMED_DENSITY } = options;
  if (typeof threshold !== "number") {
    const found = isTable(threshold) ? "a file" : thresholdRecord(threshold);
    throw new UsageError(`--threshold: must be a number with --kernels: current value is ${found}`);
  }
  const config = model.kind === "folder" ? await readConfig(model.folder) : model.config;
  using device = await openProfiled(options, output);
  output.note(`${device.description}: measuring rates`);
  const { kind, description } = device;
  const longest = Math.max(...options.lengths);
  // Short lengths are for a quick look, which a large product would delay.
  const side = Math.min(SQUARE[kind], Math.max(SQUARE.cpu, longest));
  const tflops = await productRate(device, { dtype, side });
  const readGbPerS = await readRate(device);
  const copyGbPerS = await copyRate(device);
  const mappedGbPerS = model.kind === "folder" && device.hasHostMemory
    ? await fileReadRate(device, model.folder)
    : undefined;
  const rates = { tflops, gbPerS: Math.max(readGbPerS, copyGbPerS) };
  const found = { tflops, readGbPerS, copyGbPerS, ...(mappedGbPerS && { mappedGbPerS }) };
  const precision = describeDtype(options);
  const head = JSON.stringify({ device: description, dtype: precision, ...rounded(found) });
  await appendLine(options.jsonPath, head);
  const mapped = mappedGbPerS === undefined ? "" : ` (the model's file ${mappedGbPerS.toFixed(1)})`;
  output.print(
    options.json
      ? `${head}\n`
      : `${description}, ${precision}: products ${tflops.toFixed(2)} TFLOP/s, reading ` +
        `${readGbPerS.toFixed(1)} GB/s${mapped}, copies ${copyGbPerS.toFixed(1)} GB/s\n${HEADER}\n`,
  );
  const timings: KernelTiming[] = [];
  const rows = Math.min(ROWS[kind], longest);
  const { weights, head: headKind } = options;
  const sizes = { config, dtype, rows, stride, threshold, density, weights, head: headKind };
  const time = async (make: MakeCases, tokens: number): Promise<void> => {
    using tensors = new CaseTensors(device);
    const cases = await make(tensors, { ...sizes, tokens });
    for (const each of cases) {
      output.note(each.name);
      const timing = await timeCase(device, { each, rates, density, repeats: options.repeats });
      timings.push(timing);
      const json = JSON.stringify(rounded(timing));
      output.print(`${options.json ? json : rowOf(timing)}\n`);
      await appendLine(options.jsonPath, json);
    }
  };
  await time(productCases, 0);
  await time(layerCases, 0);
  for (const tokens of options.lengths) await time(attentionCases, tokens);
  return timings;
}

type MakeCases = (tensors: CaseTensors, options: CaseOptions) => Promise<KernelCase[]>;

async function timeCase(
  device: ProfiledDevice,
  options: { each: KernelCase; rates: Rates; density: number; repeats: number },
): Promise<KernelTiming> {
  const { each, rates, density, repeats } = options;
  using tensors = new CaseTensors(device);
  const flushed = () => tensors.empty("f32", device.flushBytes / 8);
  const [from, to] = [flushed(), flushed()];
  await each.run();
  const times: number[] = [];
  let cost = { flops: 0, bytes: 0 };
  for (let run = 0; run < Math.max(repeats, 3); run++) {
    await copy(device, { out: to, in: from });
    // A GPU still copies when the op is started, so that the host's way to it is not timed.
    if (device.stream === undefined) await device.kernels.idle();
    device.count({ marks: true });
    await each.run();
    const costs = [...await device.costs()];
    times.push(costs.reduce((sum, [, { ms }]) => sum + 1000 * ms, 0));
    const [[op, found] = []] = costs;
    // The op estimates with a density of its own.
    const share = op === "sx_attention_block_sparse"
      ? density / ASSUMED_DENSITY
      : op === "sx_attention_rest"
      ? 1 - density
      : 1;
    cost = { flops: (found?.flops ?? 0) * share, bytes: found?.bytes ?? 0 };
  }
  const us = median(times);
  const floorUs = Math.max(cost.flops / rates.tflops / 1e6, cost.bytes / rates.gbPerS / 1e3);
  const { name } = each;
  return { name, us, tflops: cost.flops / us / 1e6, gbPerS: cost.bytes / us / 1e3, floorUs };
}

/** TFLOP/s of a large square product. */
async function productRate(
  device: ProfiledDevice,
  options: { dtype: BenchOptions["dtype"]; side: number },
): Promise<number> {
  using tensors = new CaseTensors(device);
  const { dtype, side } = options;
  const x = await tensors.random(dtype, [side, side], 1);
  const weight = await tensors.random("bf16", [side, side]);
  const out = tensors.empty("f32", side, side);
  const rates: number[] = [];
  for (let run = 0; run <= RATE_RUNS; run++) {
    device.count({ marks: true });
    await matmul(device, { out, x, weight });
    const cost = (await device.costs()).get("sx_matmul");
    // The first run loads code.
    if (run > 0) rates.push((cost?.flops ?? 0) / (cost?.ms ?? NaN) / 1e9);
  }
  return median(rates);
}

const HEADER = `${"op".padEnd(36)}${"us".padStart(12)}${"TFLOP/s".padStart(10)}` +
  `${"GB/s".padStart(10)}${"floor us".padStart(12)}${"of floor".padStart(10)}`;

function rowOf({ name, us, tflops, gbPerS, floorUs }: KernelTiming): string {
  return [
    name.padEnd(36),
    us.toFixed(1).padStart(12),
    tflops.toFixed(2).padStart(10),
    gbPerS.toFixed(1).padStart(10),
    floorUs.toFixed(1).padStart(12),
    `${(us / floorUs).toFixed(2)}x`.padStart(10),
  ].join("");
}

function rounded(values: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      typeof value === "number" ? Number(value.toPrecision(5)) : value,
    ]),
  );
}

/** Opens the device that a bench asks for, and counts what its ops cost. */
async function openProfiled(
  options: BenchOptions,
  output: BenchOutput,
): Promise<ProfiledDevice> {
  const { kind, note } = await chooseDevice(options.device, options);
  if (note !== undefined) output.note(note);
  const threads = threadsPerProcess(options.threads, { processCount: 1 });
  const rowsSet = await rowsSetFor({ device: kind, threads });
  return new ProfiledDevice(await openDevice({ kind, threads, rowsSet }));
}
