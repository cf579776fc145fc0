/**
 * A device with host memory whose keys and values begin as NaN and not as zeros, as pages that had
 * another sequence may hold anything.
 *
 * @module
 */
import type { Device, DeviceMemory } from "../../lib/device/device.ts";

/** Memory that is poisoned, by its label. */
const POISONED = /^(?:keys|values) of layer /;

/** The same device, but for the first content of keys and values. */
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
