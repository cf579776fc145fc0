/**
 * Opens the device that a run asks for.
 *
 * @module
 */
import { openCpuDevice } from "./cpu.ts";
import type { Device } from "./device.ts";

/** The choice of a device; `auto` takes the best one that is usable. */
export type DeviceKind = "auto" | "cpu" | "cuda";

/** What `openDevice()` takes. */
export interface OpenDeviceOptions {
  readonly kind: DeviceKind;
  /** Threads of an op on the CPU, 1 to 256. */
  readonly threads: number;
}

/**
 * Opens a device.
 *
 * @throws {DeviceError} If it cannot be used.
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Device> {
  return await openCpuDevice({ threads: options.threads });
}
