/**
 * Times the products of a model's layer on a GPU with weights of bf16 and of e4m3, side by side:
 * `deno run -A scripts/bench_weights.ts [--rows=8192] [--repeats=20] [--json_path=FILE]`, which gets a
 * line of JSON for each.
 *
 * Of many rows: the product by cuBLAS, then by cuBLASLt with each way of adding up, and what rounding the
 * activations takes, which belongs to it. Of few rows: the kernels of a decode step. Everything that a
 * product reads comes from memory, not from a cache. Errors are those against the product of bf16, in
 * its norm: of rounding weights and activations, and of adding up.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openCudaDevice } from "../lib/device/cuda.ts";
import type { Device } from "../lib/device/device.ts";
import { Fp8Matrix } from "../lib/device/fp8_matrix.ts";
import { Tensor } from "../lib/device/tensor.ts";
import { RandomSource } from "../lib/model/random_weights.ts";
import { copy } from "../lib/ops/convert.ts";
import { matmul } from "../lib/ops/matmul.ts";
import { matmulRows } from "../lib/ops/matmul_rows.ts";
import { quantizeRows } from "../lib/ops/quantize_rows.ts";

/** The products of a layer of Llama-3.1-8B: name, outputs, inputs. */
const MATRICES = [
  ["qkv", 6_144, 4_096],
  ["output", 4_096, 4_096],
  ["gate and up", 28_672, 4_096],
  ["down", 4_096, 14_336],
] as const;
const LAYERS = 32;
const FEW_ROWS = [1, 2, 4, 8, 16, 17, 24, 32, 48, 64, 96, 128] as const;
/** Rows of many whose errors are measured. */
const CHECKED_ROWS = 256;

/** One line. */
interface Timing {
  readonly name: string;
  readonly rows: number;
  readonly bf16Us: number;
  readonly fp8Us: number;
  /** Without fast accumulation; of many rows only. */
  readonly preciseUs?: number;
  /** Of rounding the activations; of many rows only. */
  readonly roundUs?: number;
  readonly error: number;
  readonly preciseError?: number;
}

/** Tensors of a case and the device's timing. */
class Bench implements Disposable {
  readonly device: Device;
  readonly #owned = new DisposableStack();
  readonly #source: RandomSource;
  readonly #repeats: number;

  constructor(device: Device, repeats: number) {
    this.device = device;
    this.#repeats = repeats;
    this.#source = this.#owned.use(new RandomSource());
  }

  empty(dtype: "f32" | "bf16", ...shape: number[]): Tensor {
    return this.#owned.use(Tensor.allocate(this.device, { dtype, shape, label: "bench" }));
  }

  async random(rows: number, columns: number, deviation?: number): Promise<Tensor> {
    const tensor = this.empty("bf16", rows, columns);
    await this.#source.fill(tensor, deviation);
    return tensor;
  }

  rounded(rows: number, columns: number): Fp8Matrix {
    const options = { shape: [rows, columns], label: "rounded" } as const;
    return Fp8Matrix.allocate(this.device, options, this.#owned);
  }

  /** The median of a call's microseconds; what it reads is in no cache. */
  async time(run: () => Promise<void>): Promise<number> {
    const { clock, flushBytes } = this.device;
    if (clock === undefined) throw new TypeError("Cannot time ops without a device's clock");
    using halves = Tensor.allocate(this.device, {
      dtype: "f32",
      shape: [2, flushBytes / 8],
      label: "what fills the caches",
    });
    const times: number[] = [];
    await run();
    for (let i = 0; i < this.#repeats; i++) {
      await copy(this.device, { out: halves.rows(0, 1), in: halves.rows(1, 1) });
      clock.mark();
      await run();
      clock.mark();
      times.push(1_000 * ((await clock.read())[0] ?? NaN));
    }
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length / 2)] ?? NaN;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

async function manyRows(
  devices: { fast: Device; precise: Device },
  options: { matrix: typeof MATRICES[number]; rows: number; repeats: number },
): Promise<Timing> {
  const { matrix: [name, n, k], rows, repeats } = options;
  const run = async (device: Device, isWhole: boolean) => {
    using bench = new Bench(device, repeats);
    const x = await bench.random(rows, k, 1);
    const weight = await bench.random(n, k);
    const out = bench.empty("f32", rows, n);
    const [roundedX, roundedWeight] = [bench.rounded(rows, k), bench.rounded(n, k)];
    await quantizeRows(device, { out: roundedWeight, in: weight });
    const product = () => matmul(device, { out, x, weight });
    const scaled = () => matmul(device, { out, x: roundedX, weight: roundedWeight });
    const roundUs = await bench.time(() => quantizeRows(device, { out: roundedX, in: x }));
    const fp8Us = await bench.time(scaled);
    const found = await out.rows(0, CHECKED_ROWS).toFloats();
    const bf16Us = isWhole ? await bench.time(product) : NaN;
    await product();
    const error = relativeError(found, await out.rows(0, CHECKED_ROWS).toFloats());
    return { roundUs, fp8Us, bf16Us, error };
  };
  const { roundUs, fp8Us, bf16Us, error } = await run(devices.fast, true);
  const precise = await run(devices.precise, false);
  return {
    name,
    rows,
    bf16Us,
    fp8Us,
    preciseUs: precise.fp8Us,
    roundUs,
    error,
    preciseError: precise.error,
  };
}

async function fewRows(
  device: Device,
  options: { matrix: typeof MATRICES[number]; rows: number; repeats: number },
): Promise<Timing> {
  const { matrix: [name, n, k], rows, repeats } = options;
  using bench = new Bench(device, repeats);
  const x = await bench.random(rows, k, 1);
  const weight = await bench.random(n, k);
  const out = bench.empty("f32", rows, n);
  const rounded = bench.rounded(n, k);
  await quantizeRows(device, { out: rounded, in: weight });
  const fp8Us = await bench.time(() => matmulRows(device, { out, x, weight: rounded }));
  const found = await out.toFloats();
  const bf16Us = await bench.time(() => matmulRows(device, { out, x, weight }));
  return { name, rows, bf16Us, fp8Us, error: relativeError(found, await out.toFloats()) };
}

/** The norm of the difference over the norm of what is expected. */
function relativeError(found: Float32Array, expected: Float32Array): number {
  let [off, all] = [0, 0];
  for (const [i, value] of expected.entries()) {
    off += ((found[i] ?? NaN) - value) ** 2;
    all += value ** 2;
  }
  return Math.sqrt(off / all);
}

function manyText(timing: Timing): string {
  const { name, rows, bf16Us, fp8Us, preciseUs = NaN, roundUs = NaN } = timing;
  const { error, preciseError = NaN } = timing;
  const matrix = MATRICES.find(([each]) => each === name);
  const flops = 2 * rows * (matrix?.[1] ?? NaN) * (matrix?.[2] ?? NaN);
  const rate = (us: number) => `${us.toFixed(1)} us ${(flops / us / 1e6).toFixed(0)} TFLOP/s`;
  return `${name.padEnd(12)} ${rows} rows: bf16 ${rate(bf16Us)}; fp8 ${rate(fp8Us)} ` +
    `(${(bf16Us / fp8Us).toFixed(2)}x), precise ${rate(preciseUs)} ` +
    `(${(bf16Us / preciseUs).toFixed(2)}x); rounding ${roundUs.toFixed(1)} us; ` +
    `off by ${percent(error)}, precise ${percent(preciseError)}`;
}

function fewText({ name, rows, bf16Us, fp8Us, error }: Timing): string {
  const matrix = MATRICES.find(([each]) => each === name);
  const codes = (matrix?.[1] ?? NaN) * (matrix?.[2] ?? NaN);
  const rate = (us: number, bytes: number) =>
    `${us.toFixed(1)} us ${(bytes / us / 1e3).toFixed(0)} GB/s`;
  return `${name.padEnd(12)} ${String(rows).padStart(3)} rows: bf16 ${rate(bf16Us, 2 * codes)}; ` +
    `fp8 ${rate(fp8Us, codes)} (${(bf16Us / fp8Us).toFixed(2)}x); off by ${percent(error)}`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(3)} %`;
}

/** What all layers' products take. */
function sumText(timings: readonly Timing[]): string {
  const rows = timings[0]?.rows ?? 0;
  const ms = (of: (timing: Timing) => number) =>
    (LAYERS * timings.reduce((sum, timing) => sum + of(timing), 0) / 1_000).toFixed(2);
  return `${LAYERS} layers, ${rows} rows: bf16 ${ms(({ bf16Us }) => bf16Us)} ms, fp8 ${
    ms(({ fp8Us, roundUs = 0 }) => fp8Us + roundUs)
  } ms with rounding`;
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: "8192" },
      repeats: { type: "string", default: "20" },
      json_path: { type: "string" },
    },
  });
  const [rows, repeats] = [Number(values.rows), Number(values.repeats)];
  const report = async (timing: Timing, text: string) => {
    print(text);
    const path = values.json_path;
    if (path === undefined) return;
    await Deno.writeTextFile(path, `${JSON.stringify(timing)}\n`, { append: true });
  };
  using fast = await openCudaDevice();
  using precise = await openCudaDevice({ fastAccumulation: false });
  print(fast.description);
  if (fast.fp8Rows !== undefined) {
    const timings: Timing[] = [];
    for (const matrix of MATRICES) {
      const timing = await manyRows({ fast, precise }, { matrix, rows, repeats });
      await report(timing, manyText(timing));
      timings.push(timing);
    }
    print(sumText(timings));
  }
  for (const few of FEW_ROWS) {
    const timings: Timing[] = [];
    for (const matrix of MATRICES) {
      const timing = await fewRows(fast, { matrix, rows: few, repeats });
      await report(timing, fewText(timing));
      timings.push(timing);
    }
    print(sumText(timings));
  }
}

if (import.meta.main) await main();
