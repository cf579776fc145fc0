/**
 * Counts what a device has allocated at most from a moment on: its own `peakBytes` has the making of
 * random weights, too, which takes more than a short run does.
 *
 * @module
 */
import type { Device, DeviceMemory } from "../../lib/device/device.ts";

/** How a {@linkcode MemoryMeter} counts. */
export interface MeterOptions {
  /** Exchanges that are waited for cannot be recorded. @default {true} */
  readonly canRecord?: boolean;
  /** Whether memory of this label counts. By default all does. */
  readonly isCounted?: (label: string) => boolean;
  /** Allocates what counts, in place of the device. */
  readonly allocateCounted?: ((byteLength: number, label: string) => DeviceMemory) | undefined;
}

/** A device, and what is allocated through it. */
export class MemoryMeter {
  readonly device: Device;
  #liveBytes = 0;
  #peakBytes = 0;

  constructor(device: Device, options: MeterOptions = {}) {
    const { canRecord = true, isCounted = () => true, allocateCounted } = options;
    const allocate = (byteLength: number, label: string): DeviceMemory => {
      if (!isCounted(label)) return device.allocate(byteLength, label);
      const memory = allocateCounted?.(byteLength, label) ?? device.allocate(byteLength, label);
      this.#liveBytes += byteLength;
      this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
      return new MeteredMemory(memory, () => this.#liveBytes -= byteLength);
    };
    this.device = new Proxy(device, {
      get(target, name) {
        if (name === "allocate") return allocate;
        if (name === "recorder" && !canRecord) return undefined;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  /** The bytes that are there. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** The most bytes that were there at once since the count began. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** Begins to count, with what is there. */
  restart(): void {
    this.#peakBytes = this.#liveBytes;
  }
}

class MeteredMemory implements DeviceMemory {
  readonly #memory: DeviceMemory;
  readonly #onFreed: () => void;
  #disposed = false;

  constructor(memory: DeviceMemory, onFreed: () => void) {
    this.#memory = memory;
    this.#onFreed = onFreed;
  }

  get label(): string {
    return this.#memory.label;
  }

  get byteLength(): number {
    return this.#memory.byteLength;
  }

  get writable(): boolean {
    return this.#memory.writable;
  }

  get address(): bigint {
    return this.#memory.address;
  }

  get bytes(): DeviceMemory["bytes"] {
    return this.#memory.bytes;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory[Symbol.dispose]();
    this.#onFreed();
  }
}
