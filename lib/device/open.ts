/**
 * Opens the device that a run asks for.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { openCpuDevice } from "./cpu.ts";
import { openCudaDevice } from "./cuda.ts";
import type { Device } from "./device.ts";

/** The choice of a device; `auto` takes a usable GPU, or else the CPU. */
export type DeviceKind = "auto" | "cpu" | "cuda";

/** What `openDevice()` takes. */
export interface OpenDeviceOptions {
  readonly kind: DeviceKind;
  /** Threads of an op on the CPU, 1 to 256. */
  readonly threads: number;
  /** What is computed with: a GPU has code for bf16 only. */
  readonly dtype: "bf16" | "f32";
}

/**
 * Opens a device; its `description` says which one it is.
 *
 * @throws {DeviceError} If it cannot be used; `cuda` never becomes the CPU.
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Device> {
  const { kind, threads, dtype } = options;
  if (kind === "cpu") return await openCpuDevice({ threads });
  if (kind === "cuda") {
    if (dtype !== "bf16") {
      throw new DeviceError(
        `Cannot compute on a GPU as '--dtype' must be bf16: current value is ${dtype}`,
      );
    }
    return await openCudaDevice();
  }
  if (dtype === "bf16") {
    try {
      return await openCudaDevice();
    } catch (error) {
      // `auto` asks for the best device that is usable, and this one is not.
      if (!(error instanceof DeviceError)) throw error;
    }
  }
  return await openCpuDevice({ threads });
}
