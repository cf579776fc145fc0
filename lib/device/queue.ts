/**
 * The order of a device's ops, and the choice between blocking and nonblocking calls.
 *
 * A context runs one op at a time. While none is under way, a small op is a plain call of some
 * nanoseconds; a large one runs on another thread, so that timers, progress and messages go on.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Bytes } from "../ffi/memory.ts";
import { checkStatus, STATUS_OK } from "../ffi/status.ts";
import type { KERNEL_SYMBOLS } from "../ffi/nonblocking.ts";
import { OpScratch, OpStruct } from "../ffi/op_struct.ts";
import type { OpParams } from "../ffi/op_params.ts";
import type { MatmulParams } from "../ffi/params.ts";
import type { ForeignLibrary } from "../ffi/library.ts";
import type { OpName } from "../ffi/symbols.ts";
import type { Kernels, OpCall, OpRecorder, PendingBytes, RecordedOps, Region } from "./device.ts";

/** The bound functions of a kernel library. */
export type KernelFunctions = ForeignLibrary<typeof KERNEL_SYMBOLS>["symbols"];

/** How long a call takes, roughly. */
export interface CostModel {
  /** Operations per microsecond, of all threads together. */
  readonly flopsPerUs: number;
  /** Bytes per microsecond. */
  readonly bytesPerUs: number;
}

/** What every op costs at least, for the sum of many small ones. */
const CALL_US = 2;
/**
 * From here on a nonblocking call is worth what it costs: 10 to 14 us, and often about 1 ms more, as
 * the system first puts the calling thread on the core of a thread of the library's pool.
 */
const NONBLOCKING_FROM_US = 40_000;
/** Smaller ops may hold the event loop for so long in a row; the next one first lets it run. */
const BLOCKING_BUDGET_US = 2_000;

/** One call that has not begun: its structure lives as long as this. */
interface WaitingOp {
  readonly op: OpName;
  readonly struct: OpStruct;
  readonly call: OpCall;
}

/** How a call is made; a yielding one blocks after the event loop ran. */
type Way = "nonblocking" | "yielding" | "blocking";

/** The ops of one context, one after the other. */
export class KernelQueue implements Kernels, OpRecorder {
  /** What the host computes while ops run would only take their cores. */
  readonly runsAhead = false;
  readonly #functions: KernelFunctions;
  readonly #context: bigint;
  readonly #cost: CostModel;
  /** Settles, never rejects, when the last op has ended; undefined while none is under way. */
  #tail: Promise<void> | undefined;
  #closed = false;
  #blockedUs = 0;
  /** Takes ops while they are recorded. */
  #recording: WaitingOp[] | undefined;
  readonly #scratch = new OpScratch();

  constructor(functions: KernelFunctions, options: { context: bigint; cost: CostModel }) {
    this.#functions = functions;
    this.#context = options.context;
    this.#cost = options.cost;
  }

  /** See `Kernels.run()`. */
  async run<K extends OpName>(op: K, params: OpParams[K], call: OpCall): Promise<void> {
    if (this.#recording !== undefined) {
      this.#recording.push({ op, struct: OpStruct.of(op, params), call });
      return;
    }
    const ended = this.#tail === undefined
      ? this.#beginNow(op, params, call)
      : this.#begin({ op, struct: OpStruct.of(op, params), call });
    if (ended !== undefined) await ended;
  }

  /** See `Kernels.multiply()`: the library's own product. */
  multiply(params: MatmulParams, call: OpCall): Promise<void> {
    return this.run("sx_matmul", params, call);
  }

  /** See `OpRecorder.record()`. A call that is repeated makes no checks, and no tensors' views. */
  async record(start: () => Promise<void>): Promise<RecordedOps> {
    const ops: WaitingOp[] = [];
    this.#recording = ops;
    try {
      await start();
    } finally {
      this.#recording = undefined;
    }
    let disposed = false;
    return {
      run: async () => {
        if (disposed) throw new TypeError("Cannot run recorded ops as they are disposed");
        for (const op of ops) {
          const ended = this.#begin(op);
          if (ended !== undefined) await ended;
        }
      },
      [Symbol.dispose]: () => {
        disposed = true;
      },
    };
  }

  /** See `OpRecorder.fetch()`. */
  fetch(source: Region): PendingBytes {
    const copy = (): Bytes => source.hostBytes().slice();
    const pending = this.#tail === undefined ? Promise.resolve(copy()) : this.#tail.then(copy);
    return { read: () => pending };
  }

  /** See `Kernels.idle()`. */
  async idle(): Promise<void> {
    while (this.#tail !== undefined) await this.#tail;
  }

  /** Calls back when the ops that were started have ended: at once if there is none. */
  whenIdle(callback: () => void): void {
    if (this.#tail === undefined) callback();
    else this.#track(this.#tail.then(callback));
  }

  /** Refuses further ops; those that were started still run. */
  close(): void {
    this.#closed = true;
  }

  /** The text of the context's last failure. */
  errorText(): string {
    return contextErrorText(this.#functions, this.#context);
  }

  /** Makes a call while no other is under way; a blocking one needs no memory of its own. */
  #beginNow<K extends OpName>(
    op: K,
    params: OpParams[K],
    call: OpCall,
  ): Promise<void> | undefined {
    this.#checkOpen(op);
    call.check?.();
    const way = this.#wayOf(call);
    if (way === "blocking") return this.#block(op, this.#scratch.write(op, params), call);
    const ended = this.#start({ op, struct: OpStruct.of(op, params), call }, way);
    if (ended !== undefined) this.#track(ended);
    return ended;
  }

  /** Makes the call once earlier ops have ended; undefined if it has ended, too. */
  #begin(waiting: WaitingOp): Promise<void> | undefined {
    this.#checkOpen(waiting.op);
    const before = this.#tail;
    const start = (): Promise<void> | undefined => {
      waiting.call.check?.();
      return this.#start(waiting, this.#wayOf(waiting.call));
    };
    const ended = before === undefined ? start() : before.then(start);
    if (ended !== undefined) this.#track(ended);
    return ended;
  }

  /** Makes the call; a promise but for a blocking one. */
  #start(waiting: WaitingOp, way: Way): Promise<void> | undefined {
    const { op, struct, call } = waiting;
    if (way === "blocking") return this.#block(op, struct.address, call);
    if (way === "yielding") {
      return new Promise<void>((done) => setImmediate(done))
        .then(() => this.#block(op, struct.address, call));
    }
    const run = this.#functions[`${op}_nonblocking`];
    // The structure is read on another thread: `waiting` holds it until then.
    return run(this.#context, struct.address).then((status) => this.#check(status, waiting));
  }

  #block(op: OpName, address: bigint, call: OpCall): undefined {
    this.#check(this.#functions[op](this.#context, address), { op, call });
  }

  #check(status: number, made: { op: OpName; call: OpCall }): void {
    if (status === STATUS_OK) return;
    const { op, call } = made;
    checkStatus(status, { op, shapes: call.shapes, errorText: () => this.errorText() });
  }

  #checkOpen(op: OpName): void {
    if (this.#closed) throw new TypeError(`Cannot run ${op} as the device is disposed`);
  }

  /** The one decision on how a call is made. */
  #wayOf(call: OpCall): Way {
    const { flopsPerUs, bytesPerUs } = this.#cost;
    const estimateUs = CALL_US + Math.max(call.flops / flopsPerUs, call.bytes / bytesPerUs);
    this.#blockedUs += estimateUs;
    const isLong = estimateUs >= NONBLOCKING_FROM_US;
    if (!isLong && this.#blockedUs < BLOCKING_BUDGET_US) return "blocking";
    this.#blockedUs = isLong ? 0 : estimateUs;
    return isLong ? "nonblocking" : "yielding";
  }

  #track(ended: Promise<void>): void {
    const settle = (): void => {
      if (this.#tail === settled) this.#tail = undefined;
    };
    const settled: Promise<void> = ended.then(settle, settle);
    this.#tail = settled;
  }
}

/** The text of a context's last failure. */
export function contextErrorText(functions: KernelFunctions, context: bigint): string {
  const text = new Uint8Array(512);
  functions.sx_error_text(context, text, BigInt(text.length));
  const end = text.indexOf(0);
  return new TextDecoder().decode(text.subarray(0, end < 0 ? text.length : end));
}
