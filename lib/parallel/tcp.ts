/**
 * The collective of processes that no MPI connects: one TCP connection of every rank to rank 0, which
 * gathers the parts and sends the whole to all.
 *
 * Data of every exchange go by way of rank 0, so that it carries as many times a rank's bytes as
 * there are ranks: good for the tens of KB of a layer in phase 2, and slower than MPI. Reports of
 * where each rank is (lib/parallel/peers.ts) go the same way beside the exchanges.
 *
 * @module
 */
import { WorkerError } from "../errors.ts";
import {
  AbortedError,
  type BroadcastOptions,
  checkGatherLengths,
  checkRoot,
  checkTimeout,
  closedError,
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
import type { Ending } from "./ending.ts";
import type { LaunchedCollective } from "./launched.ts";
import { RankStatus } from "./state.ts";
import { TcpControl } from "./tcp_control.ts";
import { FRAME, type Frame } from "./tcp_link.ts";
import { meet, type MeetOptions } from "./tcp_meet.ts";
import { CALL_BYTES, type NumberedCall, readCall, writeCalls } from "./tcp_words.ts";

/** How to join. */
export interface TcpOptions extends MeetOptions {
  /** The longest wait for a rank that makes no progress. */
  readonly timeoutMs: number;
  /** The bytes of a rank that are exchanged at once, the same on all ranks. Default 1 MiB. */
  readonly pieceBytes?: number;
  /** Called once when the run cannot go on, also between operations. */
  readonly onLost?: (error: WorkerError) => void;
}

const DEFAULT_PIECE_BYTES = 1 << 20;
/** What all pieces of one exchange may take. */
const MAX_GATHERED_BYTES = 1 << 26;
const NOTHING = new Uint8Array();
/** How often a wait looks for ranks that do not get on, at the least. */
const MAX_LOOK_MS = 500;

/** What one rank has put down for an exchange. */
interface Part {
  readonly call: NumberedCall;
  readonly data: Uint8Array;
}

/** The bytes of an exchange: this rank's, how many each rank gives, and how many all get. */
interface Exchanged {
  readonly data: Uint8Array;
  partBytes(rank: number): number;
  readonly wholeBytes: number;
}

/** A wait that a frame or a fault ends. */
interface Wait {
  readonly isOver: () => boolean;
  resolve(): void;
  reject(error: Error): void;
}

/** One rank's end. */
export class TcpCollective implements LaunchedCollective {
  readonly rank: number;
  readonly size: number;
  /** It is what carries phase 2 where there is no NCCL, and people are to know of the better way. */
  readonly version = "TCP (MPI is faster)";
  /** How this rank tells the others how far it is. */
  readonly status: RankStatus = new RankStatus();
  readonly #control: TcpControl;
  readonly #pieceBytes: number;
  #timeoutMs: number;
  #epoch = 0;
  /** At rank 0: what the others have put down, each for the exchange after the last one. */
  readonly #parts = new Map<number, Part>();
  /** At the others: rank 0's answer. */
  #answer: Frame | undefined;
  #wait: Wait | undefined;
  #busy = false;
  #closed = false;

  private constructor(links: ConstructorParameters<typeof TcpControl>[0], options: TcpOptions) {
    const { rank, size, timeoutMs, pieceBytes = DEFAULT_PIECE_BYTES } = options;
    this.rank = rank;
    this.size = size;
    this.#timeoutMs = timeoutMs;
    this.#pieceBytes = Math.max(1, Math.min(pieceBytes, MAX_GATHERED_BYTES / size | 0));
    const ownBytes = rank === 0 ? this.#pieceBytes : size * Math.max(this.#pieceBytes, CALL_BYTES);
    this.#control = new TcpControl(links, {
      rank,
      size,
      timeoutMs,
      status: this.status,
      maxBytes: CALL_BYTES + ownBytes,
      epoch: () => this.#epoch,
      take: (from, frame) => this.#take(from, frame),
      onEnd: (error) => this.#wait?.reject(error),
      onLost: options.onLost ?? (() => {}),
    });
    // How patient others are with a rank depends on what it does.
    this.status.onEnter = () => this.#control.report();
  }

  /**
   * Joins the other ranks.
   *
   * @throws As `meet()`.
   */
  static async join(options: TcpOptions): Promise<TcpCollective> {
    checkTimeout(options.timeoutMs);
    checkTimeout(options.startTimeoutMs);
    return new TcpCollective(await meet(options), options);
  }

  /** The longest wait for a rank that makes no progress, from now on. */
  set timeoutMs(value: number) {
    this.#timeoutMs = checkTimeout(value);
    this.#control.timeoutMs = value;
  }

  /** See `LaunchedCollective.isCutOff`. */
  get isCutOff(): boolean {
    return this.#control.isCutOff;
  }

  async allGather(
    part: Uint8Array,
    out: Uint8Array,
    options: CollectiveOptions = {},
  ): Promise<void> {
    using _operation = this.#begin("an all-gather");
    checkGatherLengths(part, out, this);
    const { byteLength } = part;
    let offset = 0;
    do {
      const count = Math.min(this.#pieceBytes, byteLength - offset);
      const data = part.subarray(offset, offset + count);
      const call = { operation: ALL_GATHER, byteLength, detail: 0 };
      const partBytes = () => count;
      const wholeBytes = this.size * count;
      const whole = await this.#step(call, { ...options, data, partBytes, wholeBytes });
      for (let rank = 0; rank < this.size; rank++) {
        out.set(whole.subarray(rank * count, (rank + 1) * count), rank * byteLength + offset);
      }
      offset += count;
    } while (offset < byteLength);
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    using _operation = this.#begin("a broadcast");
    checkRoot(options.root, this);
    const { root } = options;
    const { byteLength } = data;
    let offset = 0;
    do {
      const count = Math.min(this.#pieceBytes, byteLength - offset);
      const piece = data.subarray(offset, offset + count);
      const call = { operation: BROADCAST, byteLength, detail: root };
      const own = root === this.rank ? piece : NOTHING;
      const partBytes = (rank: number) => rank === root ? count : 0;
      const sizes = { partBytes, wholeBytes: count };
      const whole = await this.#step(call, { ...options, data: own, ...sizes });
      if (root !== this.rank) piece.set(whole);
      offset += count;
    } while (offset < byteLength);
  }

  async barrier(options: CollectiveOptions = {}): Promise<void> {
    using _operation = this.#begin("a barrier");
    const call = { operation: BARRIER, byteLength: 0, detail: 0 };
    await this.#step(call, { ...options, data: NOTHING, partBytes: () => 0, wholeBytes: 0 });
  }

  abort(reason: string): void {
    if (!this.#closed) this.#control.abort({ rank: this.rank, reason });
  }

  /** See `LaunchedCollective.announce()`. */
  announce(note: number): void {
    this.#control.announce(note);
  }

  /** See `LaunchedCollective.announced()`. */
  announced(rank: number): number {
    return this.#control.peers.noteOf(rank);
  }

  /** See `LaunchedCollective.ending`. */
  get ending(): Ending {
    return this.#control.ending;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wait?.reject(closedError("an operation"));
    this.#control.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** See `LaunchedCollective.leave()`. */
  async leave(): Promise<void> {
    await this.barrier();
    const left = await this.#control.leave(this.#timeoutMs);
    this.close();
    if (left) return;
    throw new WorkerError(`Cannot leave: not all ranks did within ${this.#timeoutMs} ms`, {
      rank: -1,
      phase: "unknown",
    });
  }

  /** Settles when the connections of a closed collective are read no more. */
  async ended(): Promise<void> {
    await this.#control.ended();
  }

  #begin(operation: string): Disposable {
    if (this.#closed) throw closedError(operation);
    if (this.#busy) {
      throw new TypeError(`Cannot start ${operation} as another operation is under way`);
    }
    this.#busy = true;
    return { [Symbol.dispose]: () => void (this.#busy = false) };
  }

  /**
   * One exchange.
   *
   * @returns What rank 0 made of all ranks' data.
   */
  async #step(
    what: Call,
    options: CollectiveOptions & Exchanged,
  ): Promise<Uint8Array> {
    const timeoutMs = checkTimeout(options.timeoutMs ?? this.#timeoutMs);
    this.#throwIfEnded();
    const epoch = this.#epoch = (this.#epoch + 1) | 0;
    const call = { ...what, epoch };
    try {
      const whole = this.rank === 0
        ? await this.#collect(call, { ...options, timeoutMs })
        : await this.#ask(call, { ...options, timeoutMs });
      this.status.advance();
      return whole;
    } catch (error) {
      if (error instanceof WorkerError && !(error instanceof AbortedError)) {
        // The group is out of step from here on: the others need not find out by themselves.
        this.abort(error.message);
      }
      throw error;
    }
  }

  /** At rank 0: waits for all parts and answers. */
  async #collect(
    call: NumberedCall,
    options: Exchanged & { timeoutMs: number },
  ): Promise<Uint8Array> {
    const { data, partBytes, wholeBytes, timeoutMs } = options;
    await this.#until(() => this.#parts.size === this.size - 1, timeoutMs);
    const parts = [{ call, data }];
    for (const [rank, part] of this.#parts) parts[rank] = part;
    this.#parts.clear();
    const calls = parts.map((part) => part.call);
    if (!calls.every((theirs) => isSameCall(theirs, call))) {
      this.#control.sendAll(FRAME.disagreement, writeCalls(calls));
      throw this.#disagreement(call, calls);
    }
    const whole = new Uint8Array(wholeBytes);
    let offset = 0;
    for (const [rank, part] of parts.entries()) {
      const isMine = part.call.epoch === call.epoch && part.data.byteLength === partBytes(rank);
      if (!isMine) throw this.#control.misunderstood(rank);
      whole.set(part.data, offset);
      offset += part.data.byteLength;
    }
    this.#control.sendAll(FRAME.whole, writeCalls([call]), whole);
    return whole;
  }

  /** At the others: gives rank 0 this one's part and waits for its answer. */
  async #ask(
    call: NumberedCall,
    options: Exchanged & { timeoutMs: number },
  ): Promise<Uint8Array> {
    this.#control.sendAll(FRAME.part, writeCalls([call]), options.data);
    await this.#until(() => this.#answer !== undefined, options.timeoutMs);
    const { kind, body } = this.#answer ?? { kind: 0, body: NOTHING };
    this.#answer = undefined;
    if (kind === FRAME.disagreement) {
      const calls = Array.from(
        { length: Math.floor(body.byteLength / CALL_BYTES) },
        (_, rank) => readCall(body.subarray(rank * CALL_BYTES)),
      );
      throw this.#disagreement(call, calls);
    }
    const whole = body.subarray(CALL_BYTES);
    const isMine = readCall(body).epoch === call.epoch && whole.byteLength === options.wholeBytes;
    if (!isMine) throw this.#control.misunderstood(0);
    return whole;
  }

  /** Takes a frame of an exchange; false if it may not come now. */
  #take(from: number, frame: Frame): boolean {
    if (this.rank === 0) {
      if (frame.kind !== FRAME.part || this.#parts.has(from)) return false;
      const call = readCall(frame.body);
      this.#parts.set(from, { call, data: frame.body.subarray(CALL_BYTES) });
    } else {
      const isAnswer = frame.kind === FRAME.whole || frame.kind === FRAME.disagreement;
      if (!isAnswer || this.#answer !== undefined) return false;
      this.#answer = frame;
    }
    if (this.#wait?.isOver() === true) this.#wait.resolve();
    return true;
  }

  async #until(isOver: () => boolean, timeoutMs: number): Promise<void> {
    if (isOver()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wait = { isOver, resolve, reject };
    const clock = this.#control.peers.clock();
    const look = setInterval(() => {
      const stalled = this.#control.findStalled({ clock, timeoutMs });
      if (stalled !== undefined) reject(stalled);
    }, Math.min(MAX_LOOK_MS, timeoutMs / 6));
    try {
      await promise;
    } finally {
      clearInterval(look);
      this.#wait = undefined;
    }
  }

  #throwIfEnded(): void {
    const { end } = this.#control;
    if (end !== undefined) throw end;
  }

  /** All ranks must have called the same; otherwise their bytes mean something else. */
  #disagreement(own: Call, calls: readonly Call[]): WorkerError {
    const other = calls.findIndex((call) => !isSameCall(call, own));
    const theirs = calls[other] ?? own;
    return new WorkerError(
      disagreementText({ rank: this.rank, call: own }, { rank: other, call: theirs }),
      { rank: other, phase: this.#control.peers.position(other).phase },
    );
  }
}
