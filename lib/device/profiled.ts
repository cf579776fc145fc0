/**
 * A device that counts what its ops cost: calls, time, estimated operations.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { OpArguments } from "../ffi/nonblocking.ts";
import type { OpName } from "../ffi/symbols.ts";
import type { Device, DeviceMemory, Kernels, OpCall, OpRecorder, Region } from "./device.ts";

/** What the calls of one op have cost together. */
export interface OpCost {
  readonly calls: number;
  /** From the start of a call to its end; on a GPU only while ops are waited for. */
  readonly ms: number;
  /** As the ops estimate them. */
  readonly flops: number;
}

/** Ops of another device, counted. */
export class ProfiledDevice implements Device {
  readonly #inner: Device;
  readonly #kernels: ProfiledKernels;

  /** @param inner Disposed of with this one. */
  constructor(inner: Device) {
    this.#inner = inner;
    this.#kernels = new ProfiledKernels(inner.kernels);
  }

  /** What was counted since the last `resetCosts()`. */
  get costs(): ReadonlyMap<OpName, OpCost> {
    return this.#kernels.costs;
  }

  /** Forgets what was counted. */
  resetCosts(): void {
    this.#kernels.costs.clear();
  }

  /** Whether each op is waited for, so that its time is known where ops are asynchronous. */
  set waiting(value: boolean) {
    this.#kernels.waiting = value;
  }

  get kind(): Device["kind"] {
    return this.#inner.kind;
  }

  get description(): string {
    return this.#inner.description;
  }

  get instructionSet(): string {
    return this.#inner.instructionSet;
  }

  get threads(): number {
    return this.#inner.threads;
  }

  get kernels(): Kernels {
    return this.#kernels;
  }

  /** Ops that are waited for one by one cannot be recorded. */
  get recorder(): OpRecorder | undefined {
    return this.#kernels.waiting ? undefined : this.#inner.recorder;
  }

  get freeBytes(): number | undefined {
    return this.#inner.freeBytes;
  }

  get liveAllocations(): number {
    return this.#inner.liveAllocations;
  }

  get peakBytes(): number {
    return this.#inner.peakBytes;
  }

  allocate(byteLength: number, label: string): DeviceMemory {
    return this.#inner.allocate(byteLength, label);
  }

  upload(target: Region, data: Uint8Array): Promise<void> {
    return this.#inner.upload(target, data);
  }

  download(source: Region): Promise<Bytes> {
    return this.#inner.download(source);
  }

  [Symbol.dispose](): void {
    this.#inner[Symbol.dispose]();
  }
}

class ProfiledKernels implements Kernels {
  readonly costs = new Map<OpName, OpCost>();
  waiting = false;
  readonly #inner: Kernels;

  constructor(inner: Kernels) {
    this.#inner = inner;
  }

  async run<K extends OpName>(op: K, args: OpArguments<K>, call: OpCall): Promise<void> {
    const startMs = performance.now();
    await this.#inner.run(op, args, call);
    if (this.waiting) await this.#inner.idle();
    const ms = performance.now() - startMs;
    const before = this.costs.get(op) ?? { calls: 0, ms: 0, flops: 0 };
    this.costs.set(op, {
      calls: before.calls + 1,
      ms: before.ms + ms,
      flops: before.flops + call.flops,
    });
  }

  idle(): Promise<void> {
    return this.#inner.idle();
  }
}
