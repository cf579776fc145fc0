/**
 * The ops of a GPU: started in order on one stream, and not waited for.
 *
 * Starting an op takes some microseconds; the stream keeps the order. So that the event loop goes on
 * and the stream's own queue never fills up (a full one blocks the caller), every so many ops wait
 * for an earlier mark.
 *
 * @module
 */
import type { Blas } from "../ffi/cublas.ts";
import type { BlasLt } from "../ffi/cublaslt.ts";
import type { CudaRuntime } from "../ffi/cudart.ts";
import { OpScratch } from "../ffi/op_struct.ts";
import type { OpParams } from "../ffi/op_params.ts";
import type { MatmulParams } from "../ffi/params.ts";
import { checkStatus, DTYPE_CODES } from "../ffi/status.ts";
import type { OpName } from "../ffi/symbols.ts";
import type { CudaTransfer } from "./cuda_transfer.ts";
import type { Kernels, OpCall, OpRecorder, PendingBytes, RecordedOps, Region } from "./device.ts";
import { contextErrorText, type KernelFunctions } from "./queue.ts";

/** Ops between two marks. */
const MARK_OPS = 96;
/** Marks that may be under way: with the ops between them far below the 1,024 of a stream. */
const MARKS = 4;
/**
 * Rows from which a product goes to cuBLAS; below, it is a stream of the weights, which the
 * library's own kernel reads at the memory's rate and which can be recorded anywhere.
 */
const BLAS_ROWS = 17;

/** What a queue works with; it owns none of it. */
export interface CudaQueueParts {
  readonly functions: KernelFunctions;
  readonly context: bigint;
  readonly runtime: CudaRuntime;
  readonly blas: Blas;
  readonly blasLt: BlasLt;
  readonly transfer: CudaTransfer;
  readonly stream: bigint;
}

/** The ops of one stream. */
export class CudaQueue implements Kernels, OpRecorder {
  readonly runsAhead = true;
  readonly #parts: CudaQueueParts;
  readonly #marks: bigint[] = [];
  readonly #scratch = new OpScratch();
  #started = 0;
  #isRecording = false;
  #closed = false;

  constructor(parts: CudaQueueParts) {
    this.#parts = parts;
    for (let i = 0; i < MARKS; i++) this.#marks.push(parts.runtime.createEvent());
  }

  /** See `Kernels.run()`; settles when the op is started. */
  async run<K extends OpName>(op: K, params: OpParams[K], call: OpCall): Promise<void> {
    if (this.#closed) throw new TypeError(`Cannot run ${op} as the device is disposed`);
    call.check?.();
    const { functions, context } = this.#parts;
    const name: OpName = op;
    const status = functions[name](context, this.#scratch.write(op, params));
    checkStatus(status, { op, shapes: call.shapes, errorText: () => this.errorText() });
    const marked = this.#count();
    if (marked !== undefined) await marked;
  }

  /** See `Kernels.multiply()`: products of bf16 with many rows, and of two e4m3, are cuBLAS's. */
  async multiply(params: MatmulParams, call: OpCall): Promise<void> {
    const { m, n, k, xDtype, weightDtype } = params;
    const isBf16 = xDtype === DTYPE_CODES.bf16 && weightDtype === DTYPE_CODES.bf16;
    const isScaled = xDtype === DTYPE_CODES.f8e4m3;
    if (m === 0 || n === 0 || k === 0 || !(isScaled || isBf16 && m >= BLAS_ROWS)) {
      return await this.run("sx_matmul", params, call);
    }
    if (this.#closed) throw new TypeError("Cannot run sx_matmul as the device is disposed");
    call.check?.();
    // A handle works only while its GPU is the thread's.
    this.#parts.runtime.makeCurrent();
    const { blas, blasLt } = this.#parts;
    const product = { ...params, accumulate: params.accumulate === 1 };
    if (isScaled) blasLt.multiply(product);
    else blas.multiply(product);
    const marked = this.#count();
    if (marked !== undefined) await marked;
  }

  /** Whether ops are recorded now, and not run. */
  get isRecording(): boolean {
    return this.#isRecording;
  }

  /** See `Kernels.idle()`. @throws {DeviceError} If the GPU failed. */
  async idle(): Promise<void> {
    const { runtime, stream } = this.#parts;
    await runtime.synchronize(stream);
  }

  /** See `OpRecorder.record()`. */
  async record(start: () => Promise<void>): Promise<RecordedOps> {
    const { runtime, stream } = this.#parts;
    runtime.beginCapture(stream);
    this.#isRecording = true;
    try {
      await start();
    } catch (error) {
      // The stream leaves its recording state; what was recorded is of no use.
      try {
        runtime.destroyGraph(runtime.endCapture(stream));
      } catch {
        // The first error says why.
      }
      throw error;
    } finally {
      this.#isRecording = false;
    }
    const graph = runtime.endCapture(stream);
    let disposed = false;
    return {
      run: () => {
        if (disposed || this.#closed) {
          throw new TypeError("Cannot run recorded ops as they or the device are disposed");
        }
        runtime.launchGraph(graph, stream);
        return Promise.resolve();
      },
      [Symbol.dispose]: () => {
        if (!disposed && !this.#closed) runtime.destroyGraph(graph);
        disposed = true;
      },
    };
  }

  /** See `OpRecorder.fetch()`. */
  fetch(source: Region): PendingBytes {
    return this.#parts.transfer.fetch(source.address, source.byteLength);
  }

  /** The text of the context's last failure. */
  errorText(): string {
    return contextErrorText(this.#parts.functions, this.#parts.context);
  }

  /** Refuses further ops. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const mark of this.#marks) this.#parts.runtime.destroyEvent(mark);
  }

  /** Counts an op that was started; something to wait for every so many. */
  #count(): Promise<void> | undefined {
    this.#started++;
    return this.#started % MARK_OPS === 0 && !this.#isRecording ? this.#mark() : undefined;
  }

  /** Sets a mark, and waits for the one before which its place had. */
  async #mark(): Promise<void> {
    const { runtime, stream } = this.#parts;
    const count = this.#started / MARK_OPS;
    const mark = this.#marks[count % MARKS] ?? 0n;
    if (count > MARKS) await runtime.waitForEvent(mark);
    runtime.recordEvent(mark, stream);
  }
}
