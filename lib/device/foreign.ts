/**
 * Host memory of another owner as device memory: read-only, and never freed from here.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { DeviceMemory } from "./device.ts";

/** Memory of somebody else, for example a mapped file. */
export interface ForeignMemory {
  /** The address of the first byte; throws once the memory is gone. */
  readonly pointer: bigint;
  readonly byteLength: number;
  /** The same bytes; throws once the memory is gone, and views are detached then. */
  readonly bytes: Bytes;
}

/** The memory as a tensor sees it; the owner's own checks tell that it is gone. */
export class ForeignView implements DeviceMemory {
  readonly #owner: ForeignMemory;
  readonly label: string;
  readonly writable = false;

  constructor(owner: ForeignMemory, label: string) {
    this.#owner = owner;
    this.label = label;
  }

  get byteLength(): number {
    return this.#owner.byteLength;
  }

  get address(): bigint {
    return this.#owner.pointer;
  }

  get bytes(): Bytes {
    return this.#owner.bytes;
  }

  /** Does nothing: the owner frees it. */
  [Symbol.dispose](): void {}
}
