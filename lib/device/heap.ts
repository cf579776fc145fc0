/**
 * The memory of a device that its kernel library hands out: on the CPU it is host memory, too.
 *
 * @module
 */
import { type Bytes, bytesAt } from "../ffi/memory.ts";
import { checkStatus } from "../ffi/status.ts";
import type { DeviceMemory } from "./device.ts";
import { contextErrorText, type KernelFunctions } from "./queue.ts";

/** What a heap works with; it owns none of it. */
export interface HeapParts {
  readonly functions: KernelFunctions;
  readonly context: bigint;
  /** Whether the host may look at the memory. */
  readonly isHostMemory: boolean;
  /** Behind what an allocation is for, in messages: ` on cuda:0`. */
  readonly where: string;
  /** Calls back when no op uses the memory any more. */
  readonly whenUnused: (free: () => void) => void;
}

/** What a device has allocated. */
export class DeviceHeap {
  readonly #parts: HeapParts;
  readonly #memories = new Set<DeviceMemory>();
  #liveBytes = 0;
  #peakBytes = 0;
  #closed = false;

  constructor(parts: HeapParts) {
    this.#parts = parts;
  }

  /** Allocations that nobody has disposed of yet. */
  get liveAllocations(): number {
    return this.#memories.size;
  }

  /** The most bytes that were allocated at once. */
  get peakBytes(): number {
    return this.#peakBytes;
  }

  /** See `Device.allocate()`. */
  allocate(byteLength: number, label: string): DeviceMemory {
    if (this.#closed) throw new TypeError(`Cannot allocate '${label}' as the device is disposed`);
    if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
      throw new RangeError(
        `Cannot allocate '${label}' as its bytes must be a whole number, at least 0: ` +
          `current value is ${byteLength}`,
      );
    }
    const { functions, context, isHostMemory, where, whenUnused } = this.#parts;
    const what = `'${label}'${where}`;
    const address = allocateBytes(functions, { context, byteLength, what });
    const release = (memory: DeviceMemory): void => {
      this.#memories.delete(memory);
      this.#liveBytes -= byteLength;
      whenUnused(() => functions.sx_free(context, address));
    };
    const memory = new HeapMemory({ address, byteLength, label, isHostMemory, release });
    this.#memories.add(memory);
    this.#liveBytes += byteLength;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    return memory;
  }

  /** Refuses further allocations and disposes of those that are left. */
  close(): void {
    this.#closed = true;
    for (const memory of this.#memories) memory[Symbol.dispose]();
  }
}

/**
 * Zero-filled memory of a context: its address.
 *
 * @param request `what`: what it is for, in messages.
 * @throws {KernelError} If there is not enough.
 */
export function allocateBytes(
  functions: KernelFunctions,
  request: { context: bigint; byteLength: number; what: string },
): bigint {
  const { context, byteLength, what } = request;
  const out = new BigUint64Array(1);
  // Empty tensors get an address too, since ops refuse null pointers.
  const bytes = BigInt(Math.max(byteLength, 1));
  checkStatus(functions.sx_alloc(context, bytes, out), {
    op: "sx_alloc",
    shapes: () => `${byteLength} bytes for ${what}`,
    errorText: () => contextErrorText(functions, context),
  });
  return out[0] ?? 0n;
}

/** One allocation. */
class HeapMemory implements DeviceMemory {
  readonly label: string;
  readonly byteLength: number;
  readonly writable = true;
  readonly #address: bigint;
  readonly #isHostMemory: boolean;
  readonly #release: (memory: DeviceMemory) => void;
  #view: Bytes | undefined;
  #disposed = false;

  constructor(
    options: {
      address: bigint;
      byteLength: number;
      label: string;
      isHostMemory: boolean;
      release: (memory: DeviceMemory) => void;
    },
  ) {
    this.#address = options.address;
    this.byteLength = options.byteLength;
    this.label = options.label;
    this.#isHostMemory = options.isHostMemory;
    this.#release = options.release;
  }

  get address(): bigint {
    this.#check();
    return this.#address;
  }

  get bytes(): Bytes {
    this.#check();
    if (!this.#isHostMemory) {
      throw new TypeError(`Cannot view memory '${this.label}' as it must be host memory`);
    }
    this.#view ??= bytesAt(this.#address, this.byteLength);
    return this.#view;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // A late access through a view then finds no bytes, and not freed memory.
    this.#view?.buffer.transfer();
    this.#release(this);
  }

  #check(): void {
    if (this.#disposed) throw new TypeError(`Cannot use memory '${this.label}' as it is disposed`);
  }
}
