/**
 * A device that counts what its ops cost: calls, time, estimated operations and bytes.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { OpParams } from "../ffi/op_params.ts";
import type { MatmulParams } from "../ffi/params.ts";
import type { OpName } from "../ffi/symbols.ts";
import type {
  DecodingTraits,
  Device,
  DeviceLink,
  DeviceMemory,
  DeviceStream,
  Kernels,
  OpCall,
  OpClock,
  OpRecorder,
  Region,
} from "./device.ts";

/** What the calls of one op have cost together. */
export interface OpCost {
  readonly calls: number;
  readonly ms: number;
  /** As the ops estimate them. */
  readonly flops: number;
  readonly bytes: number;
}

/** Ops of another device, counted. */
export class ProfiledDevice implements Device {
  readonly #inner: Device;
  readonly #kernels: ProfiledKernels;

  /** @param inner Disposed of with this one. */
  constructor(inner: Device) {
    this.#inner = inner;
    this.#kernels = new ProfiledKernels(inner.kernels, inner.clock);
  }

  /**
   * Begins to count anew.
   *
   * @param options `marks`: whether to time the ops of a device that is not waited for, by marks
   * between them; they cost about a microsecond each.
   */
  count(options: { marks: boolean }): void {
    this.#kernels.begin(options.marks);
  }

  /** What was counted since; times are 0 where they were not asked for. Ends the marks. */
  costs(): Promise<ReadonlyMap<OpName, OpCost>> {
    return this.#kernels.end();
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

  /** Marks would become part of what is recorded. */
  get recorder(): OpRecorder | undefined {
    return this.#kernels.isMarking ? undefined : this.#inner.recorder;
  }

  get clock(): OpClock | undefined {
    return this.#inner.clock;
  }

  get queryDtype(): Device["queryDtype"] {
    return this.#inner.queryDtype;
  }

  get resultDtype(): Device["resultDtype"] {
    return this.#inner.resultDtype;
  }

  get cacheDtypes(): Device["cacheDtypes"] {
    return this.#inner.cacheDtypes;
  }

  get fp8Rows(): Device["fp8Rows"] {
    return this.#inner.fp8Rows;
  }

  get hasHostMemory(): boolean {
    return this.#inner.hasHostMemory;
  }

  get chunkTokens(): number {
    return this.#inner.chunkTokens;
  }

  get decoding(): DecodingTraits {
    return this.#inner.decoding;
  }

  get weightKinds(): readonly string[] {
    return this.#inner.weightKinds;
  }

  get cacheKinds(): readonly string[] {
    return this.#inner.cacheKinds;
  }

  get flushBytes(): number {
    return this.#inner.flushBytes;
  }

  get stream(): DeviceStream | undefined {
    return this.#inner.stream;
  }

  get link(): DeviceLink | undefined {
    return this.#inner.link;
  }

  get freeBytes(): number | undefined {
    return this.#inner.freeBytes;
  }

  get uuid(): string | undefined {
    return this.#inner.uuid;
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
  readonly #inner: Kernels;
  readonly #clock: OpClock | undefined;
  readonly #costs = new Map<OpName, OpCost>();
  /** The op behind each second mark. */
  #marked: OpName[] = [];
  #marks = false;

  constructor(inner: Kernels, clock: OpClock | undefined) {
    this.#inner = inner;
    this.#clock = clock;
  }

  /** Whether marks are set. */
  get isMarking(): boolean {
    return this.#marks;
  }

  begin(marks: boolean): void {
    this.#costs.clear();
    this.#marked = [];
    this.#marks = marks && this.#clock !== undefined;
  }

  async end(): Promise<ReadonlyMap<OpName, OpCost>> {
    if (this.#marks) {
      this.#marks = false;
      const times = await this.#clock?.read() ?? [];
      for (const [i, op] of this.#marked.entries()) {
        this.#add(op, { calls: 0, ms: times[2 * i] ?? 0, flops: 0, bytes: 0 });
      }
    }
    return new Map(this.#costs);
  }

  async run<K extends OpName>(op: K, params: OpParams[K], call: OpCall): Promise<void> {
    await this.#timed(op, { call, start: () => this.#inner.run(op, params, call) });
  }

  async multiply(params: MatmulParams, call: OpCall): Promise<void> {
    await this.#timed("sx_matmul", { call, start: () => this.#inner.multiply(params, call) });
  }

  async #timed(
    op: OpName,
    timed: { readonly call: OpCall; readonly start: () => Promise<void> },
  ): Promise<void> {
    const { flops, bytes } = timed.call;
    if (this.#marks) this.#clock?.mark();
    const startMs = performance.now();
    await timed.start();
    const ms = this.#clock === undefined ? performance.now() - startMs : 0;
    if (this.#marks) {
      this.#clock?.mark();
      this.#marked.push(op);
    }
    this.#add(op, { calls: 1, ms, flops, bytes });
  }

  idle(): Promise<void> {
    return this.#inner.idle();
  }

  #add(op: OpName, more: OpCost): void {
    addCost(this.#costs, [op, more]);
  }
}

/** What the ops of several devices have cost together. */
export function addCosts(
  costs: readonly ReadonlyMap<OpName, OpCost>[],
): ReadonlyMap<OpName, OpCost> {
  const sum = new Map<OpName, OpCost>();
  for (const entry of costs.flatMap((map) => [...map])) addCost(sum, entry);
  return sum;
}

function addCost(sum: Map<OpName, OpCost>, [op, more]: readonly [OpName, OpCost]): void {
  const before = sum.get(op) ?? { calls: 0, ms: 0, flops: 0, bytes: 0 };
  sum.set(op, {
    calls: before.calls + more.calls,
    ms: before.ms + more.ms,
    flops: before.flops + more.flops,
    bytes: before.bytes + more.bytes,
  });
}
