/**
 * Copies between JavaScript's memory and a GPU's, through pinned host memory.
 *
 * Uploads are started and not waited for: the pinned memory is cut into slots, and a slot is filled
 * anew only when the copies out of it are done. So a file's bytes are read while earlier ones travel.
 *
 * @module
 */
import type { CudaRuntime } from "../ffi/cudart.ts";
import { type Bytes, bytesAt } from "../ffi/memory.ts";
import type { PendingBytes } from "./device.ts";

const SLOT_BYTES = 8 << 20;
const SLOTS = 4;
/** Copies begin at multiples of it. */
const ALIGNMENT_BYTES = 256;

/** Small results that were fetched and not read yet have a place each, behind the slots. */
const RESULT_BYTES = 512;
const RESULTS = 8;

/** One piece of the pinned memory. */
interface Slot {
  readonly address: bigint;
  readonly bytes: Bytes;
  /** Recorded behind the slot's copies when it is left. */
  readonly event: bigint;
  isRecorded: boolean;
}

/** The place of one small result. */
interface ResultPlace {
  readonly address: bigint;
  readonly bytes: Bytes;
  readonly event: bigint;
  isBusy: boolean;
}

/** The copies of one stream. */
export class CudaTransfer implements Disposable {
  readonly #runtime: CudaRuntime;
  readonly #stream: bigint;
  readonly #address: bigint;
  readonly #slots: Slot[] = [];
  readonly #results: ResultPlace[] = [];
  #current = 0;
  #usedBytes = 0;
  /** The last copy that was asked for; copies are made in turn. */
  #tail: Promise<unknown> = Promise.resolve();
  #disposed = false;

  constructor(runtime: CudaRuntime, stream: bigint) {
    this.#runtime = runtime;
    this.#stream = stream;
    this.#address = runtime.allocateHost(SLOTS * SLOT_BYTES + RESULTS * RESULT_BYTES);
    for (let slot = 0; slot < SLOTS; slot++) {
      const address = this.#address + BigInt(slot * SLOT_BYTES);
      const bytes = bytesAt(address, SLOT_BYTES);
      this.#slots.push({ address, bytes, event: runtime.createEvent(), isRecorded: false });
    }
    for (let place = 0; place < RESULTS; place++) {
      const address = this.#address + BigInt(SLOTS * SLOT_BYTES + place * RESULT_BYTES);
      const bytes = bytesAt(address, RESULT_BYTES);
      this.#results.push({ address, bytes, event: runtime.createEvent(), isBusy: false });
    }
  }

  /** Copies to the device, after the ops that were started; `data` may be reused afterwards. */
  upload(to: bigint, data: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      for (let at = 0; at < data.byteLength;) {
        const slot = await this.#slotWithRoom(data.byteLength - at);
        const count = Math.min(SLOT_BYTES - this.#usedBytes, data.byteLength - at);
        slot.bytes.set(data.subarray(at, at + count), this.#usedBytes);
        this.#runtime.copyAsync("toDevice", {
          to: to + BigInt(at),
          from: slot.address + BigInt(this.#usedBytes),
          byteLength: count,
          stream: this.#stream,
        });
        this.#usedBytes += Math.ceil(count / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
        at += count;
      }
    });
  }

  /** Copies from the device, after the ops that were started. */
  download(from: bigint, byteLength: number): Promise<Bytes> {
    return this.#inTurn(async () => {
      const out = new Uint8Array(byteLength);
      for (let at = 0; at < byteLength;) {
        const slot = await this.#slotWithRoom(byteLength - at);
        const count = Math.min(SLOT_BYTES - this.#usedBytes, byteLength - at);
        this.#runtime.copyAsync("toHost", {
          to: slot.address + BigInt(this.#usedBytes),
          from: from + BigInt(at),
          byteLength: count,
          stream: this.#stream,
        });
        await this.#runtime.synchronize(this.#stream);
        out.set(slot.bytes.subarray(this.#usedBytes, this.#usedBytes + count), at);
        at += count;
      }
      return out;
    });
  }

  /**
   * Starts a copy of a few bytes from the device; waiting for it waits for nothing that is started
   * later.
   *
   * @throws {RangeError} If there are too many bytes, or too many copies that nobody has read.
   */
  fetch(from: bigint, byteLength: number): PendingBytes {
    const place = this.#results.find(({ isBusy }) => !isBusy);
    if (place === undefined || byteLength > RESULT_BYTES) {
      throw new RangeError(
        `Cannot fetch results as they must be at most ${RESULTS} of ${RESULT_BYTES} bytes: ` +
          `current value is ${byteLength} bytes and ${place === undefined ? RESULTS : 0} unread`,
      );
    }
    const [runtime, stream] = [this.#runtime, this.#stream];
    runtime.copyAsync("toHost", { to: place.address, from, byteLength, stream });
    runtime.recordEvent(place.event, stream);
    place.isBusy = true;
    return {
      read: async () => {
        try {
          await runtime.waitForEvent(place.event);
          return place.bytes.slice(0, byteLength);
        } finally {
          place.isBusy = false;
        }
      },
    };
  }

  async #inTurn<T>(copy: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    try {
      await before;
      if (this.#disposed) throw new TypeError("Cannot copy as the device is disposed");
      return await copy();
    } finally {
      resolve();
    }
  }

  /** The current slot, or the next one when the rest of it is too small to be worth a copy. */
  async #slotWithRoom(byteLength: number): Promise<Slot> {
    const room = SLOT_BYTES - this.#usedBytes;
    const current = this.#slot(this.#current);
    if (room >= Math.min(byteLength, SLOT_BYTES / 2)) return current;
    this.#runtime.recordEvent(current.event, this.#stream);
    current.isRecorded = true;
    this.#current = (this.#current + 1) % SLOTS;
    this.#usedBytes = 0;
    const next = this.#slot(this.#current);
    if (next.isRecorded) await this.#runtime.waitForEvent(next.event);
    return next;
  }

  #slot(index: number): Slot {
    const slot = this.#slots[index];
    if (slot === undefined) throw new RangeError(`Cannot use slot ${index} as there is none`);
    return slot;
  }

  /** Frees the pinned memory; no copy may be under way. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { event, bytes } of [...this.#slots, ...this.#results]) {
      this.#runtime.destroyEvent(event);
      bytes.buffer.transfer();
    }
    this.#runtime.freeHost(this.#address);
  }
}
