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
  readonly #gpu: LinkedGpu;
  /** Set anew for every copy: who waits for it waits for what it stood for when it was asked. */
  readonly #event: bigint;
  readonly #known = new Set<number>();

  /** @param gpu Outlives the link. */
  constructor(gpu: LinkedGpu) {
    this.#gpu = gpu;
    this.#event = gpu.runtime.createEvent();
  }

  send(source: Region, to: { readonly link: DeviceLink; readonly target: Region }): void {
    const { link, target } = to;
    if (!(link instanceof CudaLink)) {
      throw new TypeError(`Cannot send '${source.label}' as the other device must be a GPU`);
    }
    if (!source.contiguous || !target.contiguous || source.byteLength !== target.byteLength) {
      throw new RangeError(
        `Cannot send '${source.label}' to '${target.label}' as both must have as many bytes in one ` +
          `piece: current value is ${source.byteLength} and ${target.byteLength}`,
      );
    }
    const { runtime, stream } = this.#gpu;
    const { ordinal: peer, stream: otherStream } = link.#gpu;
    if (!this.#known.has(peer)) runtime.enablePeer(peer);
    this.#known.add(peer);
    // What the other GPU still does with the place comes first; what it is told later comes after.
    link.#mark();
    runtime.waitInStream(stream, link.#event);
    const { byteLength, address: from } = source;
    runtime.copyToPeer({ to: target.address, peer, from, byteLength, stream });
    this.#mark();
    runtime.waitInStream(otherStream, this.#event);
  }

  #mark(): void {
    this.#gpu.runtime.recordEvent(this.#event, this.#gpu.stream);
  }

  /** Destroys the event; no copy may be under way. */
  [Symbol.dispose](): void {
    this.#gpu.runtime.destroyEvent(this.#event);
  }
}
