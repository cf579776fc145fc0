/**
 * Keys and values that begin as something else than zeros, as pages that had another sequence may hold
 * anything.
 *
 * @module
 */
import { copyHeadRows } from "../../lib/attention/head_rows.ts";
import type { Device, DeviceMemory } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import type { Sequence } from "../../lib/star/sequence.ts";

/** Memory that is poisoned, by its label. */
const POISONED = /^(?:mean )?(?:keys|values) of layer /;

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
      const { keys, values, means } = rows.layer(layer);
      const [heads = 0, , headDim = 0] = keys.shape;
      const { device, dtype } = keys;
      const shape = [heads, tokens, headDim];
      using poison = Tensor.allocate(device, { dtype, shape, label: "poison" });
      await poison.writeFrom(new Float32Array(poison.size).fill(value));
      const from = { tensor: poison, start: 0 };
      for (const tensor of [keys, values]) {
        await copyHeadRows(tokens, { out: { tensor, start }, from });
      }
      for (const tensor of means === undefined ? [] : [means.keys, means.values]) {
        await copyHeadRows(tokens / 128, { out: { tensor, start: start / 128 }, from });
      }
    }
  }
}

/** Whether all keys and values in the pages of a sequence are finite, those behind its end, too. */
export async function isFinite(
  sequence: Sequence,
  options: { layerCount: number },
): Promise<boolean> {
  for (let layer = 0; layer < options.layerCount; layer++) {
    const { first, capacity } = sequence.rows.runOf(layer);
    const { keys, values } = sequence.rows.layer(layer);
    for (const tensor of [keys, values]) {
      const [heads = 0, rows = 0, headDim = 0] = tensor.shape;
      for (let head = 0; head < heads; head++) {
        const own = tensor.rows(head, 1).reshape([rows, headDim]).rows(first, capacity);
        if (!(await own.toFloats()).every(Number.isFinite)) return false;
      }
    }
  }
  return true;
}
