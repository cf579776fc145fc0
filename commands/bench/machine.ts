/**
 * What a bench asks of the machine: the peak of its memory, the rate of copies.
 *
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { Libc } from "../../lib/ffi/libc.ts";
import { copy } from "../../lib/ops/convert.ts";
import { median } from "./timings.ts";

/** Larger than the caches. */
const COPY_BYTES = 2 ** 28;
const COPY_RUNS = 5;

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
