/**
 * Copies between the memories of two GPUs of a process, in the order of the streams of both.
 *
 * @module
 */
import type { CudaRuntime } from "../ffi/cudart.ts";
import type { DeviceLink, Region } from "./device.ts";

/** The GPU of a link. */
export interface LinkedGpu {
  readonly runtime: CudaRuntime;
  readonly ordinal: number;
  readonly stream: bigint;
}

/** One GPU's end. */
export class CudaLink implements DeviceLink, Disposable {
  readonly ordinal: number;
  readonly stream: bigint;
  readonly #runtime: CudaRuntime;
  /** Set anew for every copy: who waits for it waits for what it stood for when it was asked. */
  readonly #event: bigint;
  readonly #known = new Set<number>();

  /** @param gpu Outlives the link. */
  constructor(gpu: LinkedGpu) {
    this.ordinal = gpu.ordinal;
    this.stream = gpu.stream;
    this.#runtime = gpu.runtime;
    this.#event = gpu.runtime.createEvent();
  }

  mark(): bigint {
    this.#runtime.recordEvent(this.#event, this.stream);
    return this.#event;
  }

  send(source: Region, to: { readonly link: DeviceLink; readonly target: Region }): void {
    const { link, target } = to;
    if (!source.contiguous || !target.contiguous || source.byteLength !== target.byteLength) {
      throw new RangeError(
        `Cannot send '${source.label}' to '${target.label}' as both must have as many bytes in one ` +
          `piece: current value is ${source.byteLength} and ${target.byteLength}`,
      );
    }
    const { stream } = this;
    const { ordinal: peer } = link;
    const runtime = this.#runtime;
    if (!this.#known.has(peer)) runtime.enablePeer(peer);
    this.#known.add(peer);
    // What the other GPU still does with the place comes first; what it is told later comes after.
    runtime.waitInStream(stream, link.mark());
    const { byteLength, address: from } = source;
    runtime.copyToPeer({ to: target.address, peer, from, byteLength, stream });
    runtime.waitInStream(link.stream, this.mark());
  }

  /** Destroys the event; no copy may be under way. */
  [Symbol.dispose](): void {
    this.#runtime.destroyEvent(this.#event);
  }
}
