/**
 * Scratch memory that is allocated once and dealt out anew for every use.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { Device, DeviceMemory, DType } from "./device.ts";
import { shapeText, tensorByteLength } from "./shape.ts";
import { Tensor } from "./tensor.ts";

/** Every tensor starts at a multiple of a cache line. */
const ALIGNMENT_BYTES = 64;

/** Scratch memory; tensors taken from it live until the next `reset()`. */
export class Workspace implements Disposable {
  readonly device: Device;
  readonly #memory: DeviceMemory;
  #lease: Lease;
  #takenBytes = 0;

  private constructor(device: Device, memory: DeviceMemory) {
    this.device = device;
    this.#memory = memory;
    this.#lease = new Lease(memory);
  }

  /**
   * Allocates scratch memory.
   *
   * @param device Where.
   * @param byteLength The sum of what is taken between two resets, each rounded up to 64 bytes:
   * see `workspaceBytes()`.
   * @throws {KernelError} If there is not enough memory.
   */
  static allocate(device: Device, byteLength: number): Workspace {
    return new Workspace(device, device.allocate(byteLength, "workspace"));
  }

  /** Its size. */
  get byteLength(): number {
    return this.#memory.byteLength;
  }

  /**
   * A tensor of undefined content, 64-byte aligned.
   *
   * @throws {RangeError} If not enough is left; the message has the numbers.
   * @throws {TypeError} After disposal.
   */
  take(options: { dtype: DType; shape: readonly number[]; label?: string }): Tensor {
    const { dtype, shape, label = "scratch" } = options;
    const byteLength = tensorByteLength({ dtype, shape, label });
    const begin = this.#takenBytes;
    const end = begin + roundUp(byteLength);
    if (end > this.byteLength) {
      throw new RangeError(
        `Cannot take ${shapeText(shape)} ${dtype} '${label}' from the workspace as ` +
          `${roundUp(byteLength)} bytes must be left: current value is ` +
          `${this.byteLength - begin} of ${this.byteLength}`,
      );
    }
    const memory = this.#lease;
    const tensor = Tensor.within(this.device, { dtype, shape, label, memory, byteOffset: begin });
    this.#takenBytes = end;
    return tensor;
  }

  /** Takes everything back: using a tensor that was taken before throws from now on. */
  reset(): void {
    this.#lease.end();
    this.#lease = new Lease(this.#memory);
    this.#takenBytes = 0;
  }

  /** Frees the memory; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#lease.end();
    this.#memory[Symbol.dispose]();
  }
}

/** The bytes that `take()` needs for some tensors together. */
export function workspaceBytes(
  tensors: readonly { dtype: DType; shape: readonly number[] }[],
): number {
  return tensors.reduce(
    (sum, tensor) => sum + roundUp(tensorByteLength({ ...tensor, label: "scratch" })),
    0,
  );
}

function roundUp(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/** The workspace's memory until the next reset. */
class Lease implements DeviceMemory {
  readonly #memory: DeviceMemory;
  #ended = false;

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
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
    this.#check();
    return this.#memory.address;
  }

  get bytes(): Bytes {
    this.#check();
    return this.#memory.bytes;
  }

  end(): void {
    this.#ended = true;
  }

  /** Does nothing: the workspace frees the memory. */
  [Symbol.dispose](): void {}

  #check(): void {
    if (this.#ended) {
      throw new TypeError("Cannot use a scratch tensor as its workspace was reset or disposed");
    }
  }
}
