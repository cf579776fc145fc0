/**
 * Keys and values of 8 bits for the tests of ops that read them: random floats, rounded on the device.
 *
 * @module
 */
import type { KvSegment } from "../../lib/device/kv_segment.ts";
import { kvStore } from "../../lib/ops/kv_store.ts";
import type { Random } from "./random.ts";
import type { Bench } from "./twin.ts";

/** What is made. */
export interface ScaledSizes {
  readonly dtype: "i8" | "f8e4m3";
  readonly kvHeads: number;
  readonly rows: number;
  readonly headDim: number;
  /** Makes the floats of all rows of all heads; a row with NaN reads as NaN everywhere. */
  readonly make: (count: number, random: Random) => Float32Array<ArrayBuffer>;
}

/** The tensors of a cache; the same floats on every device for the same label. */
export async function makeScaled(
  bench: Bench,
  label: string,
  sizes: ScaledSizes,
): Promise<Pick<KvSegment, "keys" | "values"> & { scales: NonNullable<KvSegment["scales"]> }> {
  const { dtype, kvHeads, rows, headDim, make } = sizes;
  const shape = [kvHeads, rows, headDim];
  const floats = (name: string) => bench.data(`${label}.${name}`, { dtype: "f32", shape, make });
  const [keys, values] = [await floats("keys"), await floats("values")];
  const scale = (name: string) => bench.zeros(`scales of ${name}`, "f32", [kvHeads, rows, 1]);
  const cache = {
    keys: bench.zeros("codes of keys", dtype, shape),
    values: bench.zeros("codes of values", dtype, shape),
    scales: { keys: scale("keys"), values: scale("values") },
  };
  const all = await bench.data(`${label}.rows`, {
    dtype: "i32",
    shape: [rows],
    make: (count) => Int32Array.from({ length: count }, (_, row) => row),
  });
  await kvStore(bench.device, { cache, keys, values, rows: all });
  return cache;
}
