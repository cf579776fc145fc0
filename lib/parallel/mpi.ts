/**
 * The collective of several machines without GPUs: MPI's non-blocking operations (MPI 3.1, chapters
 * 3.7 and 5.12), tested again and again and never waited for.
 *
 * Each exchange begins with a small all-gather of what every rank believes to take part in; data of
 * up to 40 bytes travel in it, longer ones in an operation that is started together with it. Beside
 * the exchanges each rank tells the others how far it is (lib/parallel/peers.ts).
 *
 * @module
 */
import { WorkerError } from "../errors.ts";
import { Libc } from "../ffi/libc.ts";
import type { Bytes } from "../ffi/memory.ts";
import { Mpi, MPI_LIBRARIES, MPI_SCRATCH_BYTES, type MpiFlavour } from "../ffi/mpi.ts";
import { allocateArena, type Arena } from "./arena.ts";
import {
  AbortedError,
  type BroadcastOptions,
  checkGatherLengths,
  checkRoot,
  checkTimeout,
  closedError,
  type CollectiveOptions,
} from "./collective.ts";
import type { Ending } from "./ending.ts";
import type { LaunchedCollective } from "./launched.ts";
import { MpiControl } from "./mpi_control.ts";
import {
  ALL_GATHER,
  BARRIER,
  BROADCAST,
  type Call,
  disagreementText,
  isSameCall,
} from "./calls.ts";
import { RankStatus } from "./state.ts";

/** How to join. */
export interface MpiOptions {
  readonly flavour: MpiFlavour;
  /** The library; by default the name that the loader knows. */
  readonly path?: string;
  /** The longest wait for a rank that makes no progress. */
  readonly timeoutMs: number;
  /** How long the others may take to come. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** The bytes of a rank that are exchanged at once. Default 1 MiB. */
  readonly pieceBytes?: number;
  /** Called once when the run cannot go on, also between operations. */
  readonly onLost?: (error: WorkerError) => void;
}

const DEFAULT_START_TIMEOUT_MS = 60_000;
const DEFAULT_PIECE_BYTES = 1 << 20;
/** What all pieces of one exchange may take on each rank. */
const MAX_GATHERED_BYTES = 1 << 26;
const HEADER_BYTES = 64;
/** Operation, byte length, detail; then room for short data. */
const HEADER_NUMBERS = 3;
const SHORT_BYTES = HEADER_BYTES - HEADER_NUMBERS * 8;
/** Spinning gives the core away each time; longer waits are most often for a rank that computes. */
const SPIN_MS = 2;
const SLEEP_MS = 1;
/** Between two sleeps. */
const BURST_MS = 0.1;
/** The longest time without a turn of the event loop. */
const MAX_BUSY_MS = 20;

const REQUESTS_BYTES = 64;

/** One rank's end; a process has one. */
export class MpiCollective implements LaunchedCollective {
  readonly rank: number;
  readonly size: number;
  /** How this rank tells the others how far it is. */
  readonly status: RankStatus = new RankStatus();
  /** All ranks are connected with each other. */
  readonly isCutOff = false;
  readonly #mpi: Mpi;
  readonly #control: MpiControl;
  readonly #libc = new Libc();
  #timeoutMs: number;
  readonly #pieceBytes: number;
  readonly #requests: Arena;
  readonly #header: Arena;
  readonly #headers: Arena;
  readonly #piece: Arena;
  readonly #pieces: Arena;
  #epoch = 0;
  #busy = false;
  #closed = false;
  #lastTurnMs = performance.now();

  private constructor(mpi: Mpi, options: MpiOptions) {
    this.#mpi = mpi;
    this.rank = mpi.rank;
    this.size = mpi.size;
    this.#timeoutMs = options.timeoutMs;
    const { pieceBytes = DEFAULT_PIECE_BYTES } = options;
    this.#pieceBytes = Math.max(1, Math.min(pieceBytes, MAX_GATHERED_BYTES / this.size | 0));
    this.#requests = allocateArena(REQUESTS_BYTES);
    this.#header = allocateArena(HEADER_BYTES);
    this.#headers = allocateArena(this.size * HEADER_BYTES);
    this.#piece = allocateArena(this.#pieceBytes);
    this.#pieces = allocateArena(this.size * this.#pieceBytes);
    this.#control = new MpiControl(mpi, {
      memory: allocateArena(MpiControl.byteLength(this.size)),
      status: this.status,
      timeoutMs: options.timeoutMs,
      epoch: () => this.#epoch,
      onLost: options.onLost ?? (() => {}),
    });
    // How patient others are with a rank depends on what it does.
    this.status.onEnter = () => this.#control.report();
  }

  /**
   * Joins the processes that `mpirun` or `srun` started with this one; once per process.
   *
   * @throws {DeviceError} If the library cannot be opened.
   * @throws {WorkerError} If MPI refuses, or the others do not come within the time-out.
   */
  static async join(options: MpiOptions): Promise<MpiCollective> {
    checkTimeout(options.timeoutMs);
    const timeoutMs = checkTimeout(options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS);
    const scratch = allocateArena(MPI_SCRATCH_BYTES);
    const mpi = new Mpi(options.path ?? MPI_LIBRARIES[options.flavour], {
      flavour: options.flavour,
      scratch: { address: scratch.address, byteLength: scratch.bytes.byteLength },
    });
    const started = await within(mpi.initialize(), timeoutMs);
    if (!started) {
      throw new WorkerError(`Cannot start MPI: not all ranks came within ${timeoutMs} ms`, {
        rank: -1,
        phase: "start",
      });
    }
    return new MpiCollective(mpi, options);
  }

  /** The longest wait for a rank that makes no progress, from now on. */
  set timeoutMs(value: number) {
    this.#timeoutMs = checkTimeout(value);
    this.#control.timeoutMs = value;
  }

  /** The library's name and version. */
  get version(): string {
    return this.#mpi.version;
  }

  async allGather(
    part: Uint8Array,
    out: Uint8Array,
    options: CollectiveOptions = {},
  ): Promise<void> {
    using _operation = this.#begin("an all-gather");
    checkGatherLengths(part, out, this);
    const { byteLength } = part;
    const exchange = { operation: ALL_GATHER, byteLength, detail: 0 };
    if (byteLength <= SHORT_BYTES) {
      await this.#step(exchange, { ...options, short: part });
      for (let rank = 0; rank < this.size; rank++) {
        out.set(this.#short(rank).subarray(0, byteLength), rank * byteLength);
      }
      return;
    }
    for (let offset = 0; offset < byteLength; offset += this.#pieceBytes) {
      const count = Math.min(this.#pieceBytes, byteLength - offset);
      this.#piece.bytes.set(part.subarray(offset, offset + count));
      const { address: from } = this.#piece;
      const { address: to, bytes } = this.#pieces;
      const start = (request: bigint) =>
        this.#mpi.allGather(request, { from, to, byteLength: count });
      await this.#step(exchange, { ...options, start });
      for (let rank = 0; rank < this.size; rank++) {
        out.set(bytes.subarray(rank * count, (rank + 1) * count), rank * byteLength + offset);
      }
    }
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    using _operation = this.#begin("a broadcast");
    checkRoot(options.root, this);
    const { root } = options;
    const isRoot = root === this.rank;
    const { byteLength } = data;
    const exchange = { operation: BROADCAST, byteLength, detail: root };
    if (byteLength <= SHORT_BYTES) {
      await this.#step(exchange, isRoot ? { ...options, short: data } : options);
      if (!isRoot) data.set(this.#short(root).subarray(0, byteLength));
      return;
    }
    for (let offset = 0; offset < byteLength; offset += this.#pieceBytes) {
      const count = Math.min(this.#pieceBytes, byteLength - offset);
      const { address, bytes } = this.#piece;
      if (isRoot) bytes.set(data.subarray(offset, offset + count));
      const start = (request: bigint) =>
        this.#mpi.broadcast(request, { data: address, byteLength: count, root });
      await this.#step(exchange, { ...options, start });
      if (!isRoot) data.set(bytes.subarray(0, count), offset);
    }
  }

  async barrier(options: CollectiveOptions = {}): Promise<void> {
    using _operation = this.#begin("a barrier");
    await this.#step({ operation: BARRIER, byteLength: 0, detail: 0 }, options);
  }

  abort(reason: string): void {
    if (this.#closed) return;
    this.#control.abort({ rank: this.rank, reason });
  }

  /** Tells the others a number beside the exchanges, as soon as they look. */
  announce(note: number): void {
    this.#control.announce(note);
  }

  /** What a rank announced last, as far as this one has heard; 0 before. */
  announced(rank: number): number {
    return this.#control.announced(rank);
  }

  /** See `LaunchedCollective.ending`. */
  get ending(): Ending {
    return this.#control.ending;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#control.stop();
    if (!this.#busy) this.#libc[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Takes leave together with all others, then closes. Without it (or after an error) MPI's
   * launcher ends all processes when this one ends.
   *
   * @throws {WorkerError} If the others do not come within the time-out.
   */
  async leave(): Promise<void> {
    await this.barrier();
    this.#control.stop();
    await this.#control.drain();
    const left = await within(this.#mpi.finalize(), this.#timeoutMs);
    this.close();
    if (left) return;
    throw new WorkerError(`Cannot leave MPI: not all ranks did within ${this.#timeoutMs} ms`, {
      rank: -1,
      phase: "unknown",
    });
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
        if (this.#closed) this.#libc[Symbol.dispose]();
      },
    };
  }

  /** One exchange: headers, and with them the data that `start` starts. */
  async #step(
    exchange: Call,
    options: CollectiveOptions & { short?: Uint8Array; start?: (request: bigint) => void },
  ): Promise<void> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    this.#throwIfAborted();
    const epoch = this.#epoch = (this.#epoch + 1) | 0;
    const { operation, byteLength, detail } = exchange;
    const { bytes, address: from } = this.#header;
    const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, HEADER_NUMBERS);
    numbers.set([operation, byteLength, detail]);
    if (options.short !== undefined) bytes.set(options.short, HEADER_NUMBERS * 8);
    const { address: first } = this.#requests;
    const second = first + 8n;
    try {
      this.#mpi.allGather(first, { from, to: this.#headers.address, byteLength: HEADER_BYTES });
      options.start?.(second);
      await this.#complete(first, { epoch, timeoutMs });
      this.#checkAgreement(exchange);
      if (options.start !== undefined) await this.#complete(second, { epoch, timeoutMs });
    } catch (error) {
      throw error instanceof WorkerError ? this.#give(error) : error;
    }
    this.status.advance();
    if (performance.now() - this.#lastTurnMs > MAX_BUSY_MS) await this.#sleep(0);
  }

  async #complete(
    request: bigint,
    options: { epoch: number; timeoutMs: number },
  ): Promise<void> {
    const { epoch, timeoutMs } = options;
    if (this.#spin(request, SPIN_MS)) return;
    const clock = this.#control.peers.clock();
    // Over TCP an exchange takes several steps, and MPI takes them only while it is asked.
    for (;;) {
      while (this.#control.hasJustWoken) await this.#sleep(SLEEP_MS);
      if (this.#spin(request, BURST_MS)) return;
      if (this.#control.hasJustWoken) continue;
      this.#control.receive();
      this.#throwIfAborted();
      const nowMs = performance.now();
      const stalled = this.#control.peers.findStalled(epoch, { clock, timeoutMs, nowMs });
      if (stalled !== undefined) throw stalled;
      await this.#sleep(SLEEP_MS);
      if (this.#closed) throw closedError("an operation");
    }
  }

  /** Asks until the operation has ended or the time is over. */
  #spin(request: bigint, durationMs: number): boolean {
    const endMs = performance.now() + durationMs;
    do {
      if (this.#mpi.test(request)) return true;
      this.#libc.yieldCore();
    } while (performance.now() < endMs);
    return false;
  }

  async #sleep(durationMs: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    this.#lastTurnMs = performance.now();
  }

  #short(rank: number): Bytes {
    const start = rank * HEADER_BYTES;
    return this.#headers.bytes.subarray(start + HEADER_NUMBERS * 8, start + HEADER_BYTES);
  }

  #throwIfAborted(): void {
    const { abort } = this.#control.peers;
    if (abort === undefined) return;
    const { rank, reason } = abort;
    const { phase } = this.#control.peers.position(rank);
    throw new AbortedError(`Rank ${rank} ended the run: ${reason}`, { rank, phase });
  }

  /** All ranks must have called the same; otherwise their bytes mean something else. */
  #checkAgreement(exchange: Call): void {
    const { bytes } = this.#headers;
    for (let rank = 0; rank < this.size; rank++) {
      const start = bytes.byteOffset + rank * HEADER_BYTES;
      const numbers = new Float64Array(bytes.buffer, start, HEADER_NUMBERS);
      const [operation = 0, byteLength = 0, detail = 0] = numbers;
      const call = { operation, byteLength, detail };
      if (isSameCall(call, exchange)) continue;
      throw new WorkerError(
        disagreementText({ rank: this.rank, call: exchange }, { rank, call }),
        { rank, phase: this.#control.peers.position(rank).phase },
      );
    }
  }

  /** The group is out of step from here on: the others need not find out by themselves. */
  #give(found: WorkerError): WorkerError {
    const error = this.#control.explain(found);
    if (!(error instanceof AbortedError)) this.abort(error.message);
    return error;
  }
}

/** Whether a promise settles in time; it throws if the promise does. */
async function within(promise: Promise<void>, durationMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), durationMs);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
