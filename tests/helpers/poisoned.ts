/**
 * Keys and values that begin as something else than zeros, as pages that had another sequence may hold
 * anything.
 *
 * @module
 */
import { copyHeadRows } from "../../lib/attention/head_rows.ts";
import type { Device, DeviceMemory } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { isScaled } from "../../lib/device/kv_segment.ts";
import { rowTensors } from "../../lib/model/layer_cache.ts";
import type { Sequence } from "../../lib/star/sequence.ts";

/** Memory that is poisoned, by its label. */
const POISONED = /^(?:mean |scales of the )?(?:keys|values) of layer /;

/** A code of 8 bits that is not 0: 56, and 1 of e4m3. */
const CODE = 0x38;

/**
 * The same device, but for the first content of keys and values, which is NaN: for a device with host
 * memory, which reads no key that is not there.
 */
export function poisoned(device: Device): Device {
  const allocate = (byteLength: number, label: string): DeviceMemory => {
    const memory = device.allocate(byteLength, label);
    if (!POISONED.test(label)) return memory;
    memory.bytes.fill(0xff);
    return memory;
  };
  return new Proxy(device, {
    get(target, name) {
      if (name === "allocate") return allocate;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/**
 * Overwrites all keys and values of a sequence, and their means, with one number, by ops of the device: behind those
 * that were started, such as the copies of an arena that grew, and before all later ones.
 */
export async function poisonSequence(
  sequence: Sequence,
  options: { layerCount: number; value: number },
): Promise<void> {
  const { layerCount, value } = options;
  for (const rows of [sequence.rows, sequence.anchorRows]) {
    if (rows === undefined) continue;
    for (let layer = 0; layer < layerCount; layer++) {
      const { capacity: tokens, first: start } = rows.runOf(layer);
      const cache = rows.layer(layer);
      for (const tensor of rowTensors(cache)) {
        using poison = await poisonFor(tensor, { tokens, value });
        await copyHeadRows(tokens, { out: { tensor, start }, from: { tensor: poison, start: 0 } });
      }
      const { means } = cache;
      for (const tensor of means === undefined ? [] : [means.keys, means.values]) {
        using poison = await poisonFor(tensor, { tokens: tokens / 128, value });
        const out = { tensor, start: start / 128 };
        await copyHeadRows(tokens / 128, { out, from: { tensor: poison, start: 0 } });
      }
    }
  }
}

/** Rows of one number; of 8 bits the scales have it. */
async function poisonFor(
  { device, dtype, shape }: Tensor,
  { tokens, value }: { tokens: number; value: number },
): Promise<Tensor> {
  const [heads = 0, , width = 0] = shape;
  const rows = [heads, tokens, width];
  const poison = Tensor.allocate(device, { dtype, shape: rows, label: "poison" });
  const bytes = isScaled(dtype) ? new Uint8Array(poison.size).fill(CODE) : undefined;
  await poison.writeFrom(bytes ?? new Float32Array(poison.size).fill(value));
  return poison;
}

/** Whether all keys and values in the pages of a sequence are finite, those behind its end, too. */
export async function isFinite(
  sequence: Sequence,
  options: { layerCount: number },
): Promise<boolean> {
  for (let layer = 0; layer < options.layerCount; layer++) {
    const { first, capacity } = sequence.rows.runOf(layer);
    const cache = sequence.rows.layer(layer);
    // Of 8 bits all codes are finite.
    for (const tensor of rowTensors(cache).filter(({ dtype }) => !isScaled(dtype))) {
      const [heads = 0, rows = 0, headDim = 0] = tensor.shape;
      for (let head = 0; head < heads; head++) {
        const own = tensor.rows(head, 1).reshape([rows, headDim]).rows(first, capacity);
        if (!(await own.toFloats()).every(Number.isFinite)) return false;
      }
    }
  }
  return true;
}
