/**
 * What a bench asks of the machine: the peak of its memory, the rates of reading and of copies.
 *
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { Libc } from "../../lib/ffi/libc.ts";
import { Int8Matrix, type Matrix } from "../../lib/device/int8_matrix.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { openWeightFiles } from "../../lib/model/weight_files.ts";
import type { ModelWeights } from "../../lib/model/weight_tensors.ts";
import { copy } from "../../lib/ops/convert.ts";
import { wordSum } from "../../lib/ops/word_sum.ts";
import { median } from "./timings.ts";

/** Larger than the caches. */
const COPY_BYTES = 2 ** 28;
const COPY_RUNS = 5;
const READ_BYTES = 2 ** 29;
/** Of weights no more is read: seconds on a slow machine. */
const MOST_READ_BYTES = 2 ** 32;
const READ_RUNS = 5;

/** The most memory that this process ever had resident, in MiB; mapped files count. */
export function peakMemoryMib(): number {
  using libc = new Libc();
  return libc.peakResidentBytes() / 2 ** 20;
}

/** Bytes read and written per nanosecond by a large copy on the device. */
export async function copyRate(device: Device): Promise<number> {
  const shape = [COPY_BYTES / 4];
  using out = Tensor.allocate(device, { dtype: "f32", shape, label: "copied" });
  using source = Tensor.allocate(device, { dtype: "f32", shape, label: "to copy" });
  // The first runs bring the pages in.
  await copy(device, { out: source, in: out });
  await copy(device, { out, in: source });
  await device.kernels.idle();
  const rates: number[] = [];
  for (let run = 0; run < COPY_RUNS; run++) {
    const startMs = performance.now();
    device.clock?.mark();
    await copy(device, { out, in: source });
    device.clock?.mark();
    const [ms = performance.now() - startMs] = await device.clock?.read() ?? [];
    rates.push(2 * source.byteLength / ms / 1e6);
  }
  return median(rates);
}

/** Bytes per nanosecond of a loop that does nothing but read memory of the device, by all threads of an op. */
export async function readRate(device: Device): Promise<number> {
  const words = READ_BYTES / 8;
  const shape = [2, words];
  using source = Tensor.allocate(device, { dtype: "i32", shape, label: "to read" });
  // Pages that nobody wrote to are one page of zeros, which lies in a cache.
  const [first, second] = [source.rows(0, 1), source.rows(1, 1)];
  await copy(device, { out: first, in: second });
  await copy(device, { out: second, in: first });
  return await rateOfReading(device, [source]);
}

/** The same of a model's weights, where they lie; NaN if none can be read in whole words. */
export async function weightReadRate(device: Device, weights: ModelWeights): Promise<number> {
  const products = weights.layers.flatMap((layer) => Object.values(layer)).flatMap((part) =>
    part !== undefined && "pieces" in part ? part.pieces : []
  );
  return await rateOfReading(device, [weights.head, ...products].map(numbersOf));
}

/**
 * The same of a model's files, mapped; of a device whose memory is the host's.
 *
 * @throws {FileError} If the model is missing or damaged.
 */
export async function fileReadRate(device: Device, folder: string): Promise<number> {
  using files = await openWeightFiles(folder);
  const mappings = new Set([...files.entries.values()].map(({ file }) => file));
  const tensors = [...mappings].map((file) =>
    Tensor.foreign(device, {
      ...{ address: file.pointer, keepAlive: file, dtype: "i32", label: "a file of weights" },
      shape: [Math.floor(Math.min(file.byteLength, MOST_READ_BYTES) / 4)],
    })
  );
  return await rateOfReading(device, tensors);
}

function numbersOf(matrix: Matrix): Tensor {
  if (matrix instanceof Int8Matrix) return matrix.panels;
  return matrix instanceof Fp8Matrix ? matrix.codes : matrix;
}

async function rateOfReading(device: Device, tensors: readonly Tensor[]): Promise<number> {
  const read: Tensor[] = [];
  let bytes = 0;
  for (const tensor of tensors) {
    const isWhole = tensor.contiguous && tensor.byteLength % 4 === 0 && tensor.device === device;
    if (!isWhole || bytes + tensor.byteLength > MOST_READ_BYTES) continue;
    read.push(tensor);
    bytes += tensor.byteLength;
  }
  if (bytes === 0) return NaN;
  using out = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "sum" });
  const rates: number[] = [];
  for (let run = 0; run <= READ_RUNS; run++) {
    const startMs = performance.now();
    device.clock?.mark();
    for (const tensor of read) await wordSum(device, { out, in: tensor });
    device.clock?.mark();
    const [ms = performance.now() - startMs] = await device.clock?.read() ?? [];
    // The first run brings pages in.
    if (run > 0) rates.push(bytes / ms / 1e6);
  }
  return median(rates);
}
