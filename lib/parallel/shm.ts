/**
 * The collective of one machine: shared memory and futex(2).
 *
 * A group exchanges in epochs: everyone writes its slot, arrives, waits until all have arrived, and
 * reads. Slots are doubled by the epoch's parity: who writes in epoch e + 2 knows that all have
 * arrived in e + 1, hence have read e. So one wait per exchange is enough.
 *
 * @module
 */
import { invariant, WorkerError } from "../errors.ts";
import { Libc, type Timespec, timespec } from "../ffi/libc.ts";
import {
  type Bytes,
  type CreatedMemory,
  createSharedMemory,
  openSharedMemory,
  type SharedMemory,
} from "../ffi/memory.ts";
import {
  AbortedError,
  type BroadcastOptions,
  checkGatherLengths,
  checkRoot,
  checkTimeout,
  closedError,
  type Collective,
  type CollectiveOptions,
} from "./collective.ts";
import {
  ALL_GATHER,
  BARRIER,
  BROADCAST,
  type Call,
  disagreementText,
  isSameCall,
} from "./calls.ts";
import { GroupState, lostRankError, type RankStatus, StallClock } from "./state.ts";

/** What all ranks of a group must agree on. */
export interface ShmShape {
  /** The number of ranks. */
  size: number;
  /** The bytes that a rank exchanges at once; longer parts go in several epochs. */
  slotBytes: number;
}

/** What a rank needs to join. */
export interface ShmJoinOptions extends ShmShape {
  rank: number;
  /** The longest wait for a rank that makes no progress. */
  timeoutMs: number;
}

/** Parts up to this length need one epoch: 16 KB per layer is common in phase 2. */
export const DEFAULT_SLOT_BYTES = 256 * 1024;

const SLOT_HEADER_BYTES = 64;
/** Bounds the time until an abort is noticed when its wake-up comes between look and sleep. */
const SLEEP_SLICE_US = 50_000;
/** A sleep that blocks the event loop saves the 10 us of a call on another thread. */
const BLOCKING_SLEEP_US = 500;
const BLOCKING_SLEEPS = 2;
/** Spinning pays only while nobody else needs this core. */
const SPIN_US = 30;
/** The longest time without a turn of the event loop. */
const MAX_BUSY_MS = 20;

/** Where a rank puts its bytes. */
interface Slot {
  /** Operation, byte length, detail: what this rank believes to take part in. */
  readonly header: Float64Array<ArrayBuffer>;
  readonly data: Bytes;
}

/** The shared memory of a group, created by the process that watches over it. */
export class ShmGroup implements Disposable {
  readonly shape: ShmShape;
  /** What the ranks say about themselves. */
  readonly state: GroupState;
  /** Where the ranks find the memory. */
  readonly path: string;
  readonly #created: CreatedMemory;
  #disposed = false;

  /** @throws {DeviceError} If there is not enough memory. */
  constructor(shape: ShmShape) {
    this.shape = { size: shape.size, slotBytes: shape.slotBytes };
    this.#created = createSharedMemory("starx", groupByteLength(shape));
    this.path = this.#created.path;
    this.state = new GroupState(this.#created.memory.bytes, shape);
  }

  /** Lets nobody else join. */
  seal(): void {
    this.#created.release();
  }

  /** Gives the memory back; the ranks keep theirs. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#created.release();
    this.#created.memory[Symbol.dispose]();
  }
}

/** One rank's end. */
export class ShmCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  /** How this rank tells the others how far it is. */
  readonly status: RankStatus;
  readonly #libc = new Libc();
  readonly #memory: SharedMemory;
  /** Two for each rank, by the epoch's parity. */
  readonly #slots: readonly Slot[];
  readonly #state: GroupState;
  readonly #doneWord: bigint;
  readonly #slotBytes: number;
  readonly #timeoutMs: number;
  readonly #spinUs: number;
  readonly #slice: Timespec = timespec(SLEEP_SLICE_US);
  readonly #blockingSlice: Timespec = timespec(BLOCKING_SLEEP_US);
  #epoch = 0;
  #busy = false;
  #closed = false;
  #lastTurnMs = performance.now();

  /**
   * Joins a group.
   *
   * @param path The path of a `ShmGroup` with the same shape.
   * @throws {FileError} If the group is gone.
   */
  constructor(path: string, options: ShmJoinOptions) {
    const { rank, size, slotBytes } = options;
    invariant(rank >= 0 && rank < size, "a rank is below the group's size");
    this.rank = rank;
    this.size = size;
    this.#slotBytes = slotBytes;
    this.#timeoutMs = checkTimeout(options.timeoutMs);
    this.#spinUs = size <= navigator.hardwareConcurrency ? SPIN_US : 0;
    this.#memory = openSharedMemory(path, groupByteLength(options));
    this.#slots = slotViews(this.#memory.bytes, options);
    this.#state = new GroupState(this.#memory.bytes, options);
    this.#doneWord = this.#memory.pointer + BigInt(GroupState.doneByteOffset);
    this.status = this.#state.status(rank);
  }

  async allGather(
    part: Uint8Array,
    out: Uint8Array,
    options: CollectiveOptions = {},
  ): Promise<void> {
    using _operation = this.#begin("an all-gather");
    checkGatherLengths(part, out, this);
    const byteLength = part.byteLength;
    const exchange = { operation: ALL_GATHER, byteLength, detail: 0 };
    let offset = 0;
    do {
      const end = Math.min(offset + this.#slotBytes, byteLength);
      this.#slot(this.rank, this.#epoch + 1).data.set(part.subarray(offset, end));
      await this.#step(exchange, options);
      for (let rank = 0; rank < this.size; rank++) {
        const { data } = this.#slot(rank, this.#epoch);
        out.set(data.subarray(0, end - offset), rank * byteLength + offset);
      }
      offset = end;
    } while (offset < byteLength);
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    using _operation = this.#begin("a broadcast");
    checkRoot(options.root, this);
    const isRoot = options.root === this.rank;
    const byteLength = data.byteLength;
    const exchange = { operation: BROADCAST, byteLength, detail: options.root };
    let offset = 0;
    do {
      const end = Math.min(offset + this.#slotBytes, byteLength);
      if (isRoot) this.#slot(this.rank, this.#epoch + 1).data.set(data.subarray(offset, end));
      await this.#step(exchange, options);
      const arrived = this.#slot(options.root, this.#epoch).data;
      if (!isRoot) data.set(arrived.subarray(0, end - offset), offset);
      offset = end;
    } while (offset < byteLength);
  }

  async barrier(options: CollectiveOptions = {}): Promise<void> {
    using _operation = this.#begin("a barrier");
    await this.#step({ operation: BARRIER, byteLength: 0, detail: 0 }, options);
  }

  abort(reason: string): void {
    if (this.#closed) return;
    this.#state.abort({ rank: this.rank, reason });
    this.#libc.wakeAll(this.#doneWord);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // An operation under way still looks at the memory; it gives it back when it has noticed.
    if (this.#busy) this.#libc.wakeAll(this.#doneWord);
    else this.#release();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #begin(operation: string): Disposable {
    if (this.#closed) throw closedError(operation);
    if (this.#busy) {
      throw new TypeError(`Cannot start ${operation} as another operation is under way`);
    }
    this.#busy = true;
    return {
      [Symbol.dispose]: () => {
        this.#busy = false;
        if (this.#closed) this.#release();
      },
    };
  }

  #release(): void {
    this.#memory[Symbol.dispose]();
    this.#libc[Symbol.dispose]();
  }

  /** A rank's slot in an epoch. */
  #slot(rank: number, epoch: number): Slot {
    const slot = this.#slots[rank * 2 + (epoch & 1)];
    invariant(slot !== undefined, "every rank has two slots");
    return slot;
  }

  /** One epoch: arrive with what the slot has, return when all have arrived. */
  async #step(exchange: Call, options: CollectiveOptions): Promise<void> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    const epoch = (this.#epoch + 1) | 0;
    this.#throwIfAborted();
    const { operation, byteLength, detail } = exchange;
    const { header } = this.#slot(this.rank, epoch);
    header[0] = operation;
    header[1] = byteLength;
    header[2] = detail;
    this.#state.beginWait(this.rank, epoch);
    try {
      if (this.#state.arrive(this.rank, epoch)) this.#libc.wakeAll(this.#doneWord);
      else await this.#wait(epoch, timeoutMs);
    } finally {
      this.#state.endWait(this.rank);
    }
    this.#epoch = epoch;
    this.#checkAgreement(exchange);
    // The word has this value no more, so that the sleep is only a turn of the event loop.
    if (performance.now() - this.#lastTurnMs > MAX_BUSY_MS) await this.#sleepAsync((epoch - 1) | 0);
  }

  async #wait(epoch: number, timeoutMs: number): Promise<void> {
    if (this.#spin(epoch)) return;
    const before = (epoch - 1) | 0;
    for (let i = 0; i < BLOCKING_SLEEPS && !this.#state.isDone(epoch); i++) {
      this.#libc.waitWhile(this.#doneWord, { value: before, timeout: this.#blockingSlice });
    }
    const clock = new StallClock({ maxStepMs: SLEEP_SLICE_US / 500 });
    while (!this.#state.isDone(epoch)) {
      this.#throwIfAborted();
      this.#throwIfStalled(epoch, { clock, timeoutMs });
      await this.#sleepAsync(before);
      if (this.#closed) throw closedError("an operation");
    }
  }

  /** Whether the epoch was done within the time in which looking is cheaper than sleeping. */
  #spin(epoch: number): boolean {
    const endMs = performance.now() + this.#spinUs / 1000;
    do {
      for (let i = 0; i < 32; i++) if (this.#state.isDone(epoch)) return true;
    } while (performance.now() < endMs);
    return false;
  }

  async #sleepAsync(value: number): Promise<void> {
    await this.#libc.waitWhileAsync(this.#doneWord, { value, timeout: this.#slice });
    this.#lastTurnMs = performance.now();
  }

  #throwIfAborted(): void {
    const abort = this.#state.aborted;
    if (abort === undefined) return;
    const { rank, reason } = abort;
    const { phase } = this.#state.snapshot(rank);
    throw new AbortedError(`Rank ${rank} ended the run: ${reason}`, { rank, phase });
  }

  #throwIfStalled(epoch: number, options: { clock: StallClock; timeoutMs: number }): void {
    const { clock, timeoutMs } = options;
    const nowMs = performance.now();
    for (const rank of this.#state.missing(epoch)) {
      const position = this.#state.snapshot(rank);
      const { progress } = position;
      if (clock.look(rank, { progress, excused: false, nowMs }) < timeoutMs) continue;
      const cause = `it made no progress for ${timeoutMs} ms`;
      throw this.#give(lostRankError(rank, { position, cause }));
    }
  }

  /** All ranks must have called the same; otherwise their bytes mean something else. */
  #checkAgreement(exchange: Call): void {
    for (let rank = 0; rank < this.size; rank++) {
      const { header } = this.#slot(rank, this.#epoch);
      const [operation = 0, byteLength = 0, detail = 0] = header;
      const call = { operation, byteLength, detail };
      if (isSameCall(call, exchange)) continue;
      const { phase } = this.#state.snapshot(rank);
      throw this.#give(
        new WorkerError(
          disagreementText({ rank: this.rank, call: exchange }, { rank, call }),
          { rank, phase },
        ),
      );
    }
  }

  /** The group is out of step from here on: the others need not find out by themselves. */
  #give(error: WorkerError): WorkerError {
    this.abort(error.message);
    return error;
  }
}

function slotViews(bytes: Bytes, shape: ShmShape): Slot[] {
  const { size, slotBytes } = shape;
  return Array.from({ length: size * 2 }, (_, i) => {
    const start = GroupState.byteLength(size) + i * slotStride(slotBytes);
    const dataStart = start + SLOT_HEADER_BYTES;
    return {
      header: new Float64Array(bytes.buffer, start, 3),
      data: bytes.subarray(dataStart, dataStart + slotBytes),
    };
  });
}

function slotStride(slotBytes: number): number {
  return Math.ceil((SLOT_HEADER_BYTES + slotBytes) / 4096) * 4096;
}

function groupByteLength(shape: ShmShape): number {
  const { size, slotBytes } = shape;
  const isValid = Number.isInteger(size) && size > 0 && Number.isInteger(slotBytes) &&
    slotBytes > 0;
  invariant(isValid, "a group has a positive number of ranks and of bytes per slot");
  return GroupState.byteLength(size) + size * 2 * slotStride(slotBytes);
}
