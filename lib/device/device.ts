/**
 * What the rest of the program knows of a device: memory, ops, copies.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import type { OpParams } from "../ffi/op_params.ts";
import type { MatmulParams } from "../ffi/params.ts";
import type { DTYPE_CODES } from "../ffi/status.ts";
import type { OpName } from "../ffi/symbols.ts";

/** The type of a tensor's elements. */
export type DType = keyof typeof DTYPE_CODES;

/** Bytes of one element. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  f32: 4,
  bf16: 2,
  f16: 2,
  i32: 4,
  i8: 1,
  f8e4m3: 1,
};

/** Device memory with one owner. */
export interface DeviceMemory extends Disposable {
  /** What it holds, for messages. */
  readonly label: string;
  readonly byteLength: number;
  /** Whether ops may write into it; a mapped file is read-only. */
  readonly writable: boolean;
  /**
   * The device address of the first byte.
   *
   * @throws {TypeError} After disposal.
   */
  readonly address: bigint;
  /**
   * All bytes without a copy, where device memory is host memory; detached on disposal.
   *
   * @throws {TypeError} After disposal, or on a device with memory of its own.
   */
  readonly bytes: Bytes;
}

/** A contiguous piece of device memory, for example a contiguous tensor. */
export interface Region {
  readonly label: string;
  readonly byteLength: number;
  readonly address: bigint;
  readonly contiguous: boolean;
  hostBytes(): Bytes;
}

/** What the queue must know of one call besides its arguments. */
export interface OpCall {
  /** Floating-point operations, estimated. */
  readonly flops: number;
  /** Bytes read and written, estimated. */
  readonly bytes: number;
  /** The shapes, for an error's text; called only then. */
  readonly shapes: () => string;
  /** Checks that need the data of earlier ops; runs right before the call and throws. */
  readonly check?: () => void;
}

/** The ops of a device, in the order in which they were started. */
export interface Kernels {
  /**
   * Runs an op after all that were started before it.
   *
   * Small work is done before this returns; the event loop goes on during large work.
   *
   * @param op The C name.
   * @param params What it takes; memory they point to must not be reused, written or read until the
   * promise settles. Disposing of it is safe: it is freed afterwards.
   * @throws {KernelError} If the library refuses or fails.
   * @throws {TypeError} If the device is disposed.
   */
  run<K extends OpName>(op: K, params: OpParams[K], call: OpCall): Promise<void>;
  /** As `run("sx_matmul", ...)`, by whatever multiplies best on the device. */
  multiply(params: MatmulParams, call: OpCall): Promise<void>;
  /** Settles when all ops that were started have ended, well or not. */
  idle(): Promise<void>;
}

/** Ops that were recorded, to run again and again at the cost of one. */
export interface RecordedOps extends Disposable {
  /** Starts them all, after the ops that were started before. */
  run(): Promise<void>;
}

/** A copy from the device that was started. */
export interface PendingBytes {
  /** Waits for this copy, and for nothing that was started after it; call it once. */
  read(): Promise<Bytes>;
}

/** Records ops where a device can, and fetches what they chose without waiting for later ones. */
export interface OpRecorder {
  /** Whether recorded ops run while the host goes on, so that it may start the next ones early. */
  readonly runsAhead: boolean;
  /**
   * Records the ops that `start` starts, without running them.
   *
   * Copies to or from the host cannot be recorded: what differs from run to run must lie in device
   * memory that is written between them.
   *
   * @throws {DeviceError} If something that cannot be recorded was started.
   */
  record(start: () => Promise<void>): Promise<RecordedOps>;
  /**
   * Starts a copy of a few bytes from the device, after the ops that were started.
   *
   * @throws {RangeError} If there are too many bytes, or too many copies that nobody has read.
   */
  fetch(source: Region): PendingBytes;
}

/** Times of ops where starting them is not doing them. */
export interface OpClock {
  /** Sets a mark behind the ops that were started. @returns Its number, from 0. */
  mark(): number;
  /** Milliseconds from each mark to the next one; waits for the last, and forgets them all. */
  read(): Promise<Float64Array>;
}

/** A GPU's end of the copies between the GPUs of a process. */
export interface DeviceLink {
  /** The GPU's number in this process. */
  readonly ordinal: number;
  /** `cudaStream_t`: where its ops are put. */
  readonly stream: bigint;
  /** Sets this end's event behind what was started. @returns The event, until the next mark. */
  mark(): bigint;
  /**
   * Starts a copy to another device's memory: after the ops that were started on either of the two,
   * and before those that are started on them later.
   *
   * @param to The end of the other device, and a place in its memory.
   * @throws {RangeError} If the lengths differ or a place has gaps.
   * @throws {DeviceError} If a device failed.
   */
  send(source: Region, to: { readonly link: DeviceLink; readonly target: Region }): void;
}

/** A place in a stream. */
export interface StreamMark extends Disposable {
  /** Whether all that was started before it has ended; never waits. */
  isDone(): boolean;
}

/** Where a GPU's ops are put in order, for what else is put there. */
export interface DeviceStream {
  /** `cudaStream_t`. */
  readonly handle: bigint;
  /** Makes the GPU this thread's, for the calls that look there. */
  makeCurrent(): void;
  /** Marks the end of the stream; undefined while ops are recorded, as nothing runs then. */
  mark(): StreamMark | undefined;
}

/** What a step of decoding costs besides reading weights and keys. */
export interface DecodingTraits {
  /** Operations on a byte that was read from which products are bound by computing. */
  readonly flopsPerByte: number;
  /** What the starts of a layer's ops take, as bytes that could be read meanwhile. */
  readonly layerBytes: number;
}

/** Products with weights of e4m3 whose activations are rounded to e4m3, too. */
export interface Fp8Rows {
  /** The number of rows from which they pay; with fewer, reading the weights is all that takes time. */
  readonly least: number;
  /** What rows and columns of the weights must be multiples of. */
  readonly multiple: number;
}

/** What is known of a device before it is opened: plans of memory depend on nothing else. */
export interface DeviceTraits {
  readonly kind: "cpu" | "cuda";
  /** The dtype of queries that attention takes. */
  readonly queryDtype: "f32" | "bf16";
  /**
   * The dtype of products that only one op reads, which rounds what it makes of them: what is written and
   * read again decides about their time where memory is far slower than products. Sums are f32.
   */
  readonly resultDtype: "f32" | "bf16";
  /** Whether device memory is host memory, so that the host may look at it between ops. */
  readonly hasHostMemory: boolean;
  /** Tokens of a chunk of a prompt: what caches like, or so many rows that products reach their rate. */
  readonly chunkTokens: number;
  /** What decides how many sequences are decoded together; see `lib/engine/batch_size.ts`. */
  readonly decoding: DecodingTraits;
  /** What the matrices of layers may be rounded to. */
  readonly weightKinds: readonly string[];
  /** What keys and values may be rounded to. */
  readonly cacheKinds: readonly string[];
  /** Absent where activations that meet e4m3 stay as they are. */
  readonly fp8Rows?: Fp8Rows | undefined;
  /** Bytes that leave nothing of what was read before in any cache, for timings. */
  readonly flushBytes: number;
}

/** The traits of each kind of device. */
export const DEVICE_TRAITS: Readonly<Record<DeviceTraits["kind"], DeviceTraits>> = {
  cpu: {
    kind: "cpu",
    queryDtype: "f32",
    resultDtype: "f32",
    hasHostMemory: true,
    chunkTokens: 512,
    weightKinds: ["bf16", "f32", "int8", "fp8"],
    cacheKinds: ["bf16", "f32", "int8", "fp8"],
    decoding: { flopsPerByte: 16, layerBytes: 2 ** 20 },
    flushBytes: 2 ** 26,
  },
  cuda: {
    kind: "cuda",
    queryDtype: "bf16",
    resultDtype: "bf16",
    hasHostMemory: false,
    chunkTokens: 8192,
    weightKinds: ["bf16", "fp8"],
    cacheKinds: ["bf16", "int8", "fp8"],
    // Below 17 rows the library's own kernel reads weights at the memory's rate, as it does those of bf16.
    fp8Rows: { least: 17, multiple: 16 },
    decoding: { flopsPerByte: 64, layerBytes: 2 ** 24 },
    flushBytes: 2 ** 28,
  },
};

/** @throws {RangeError} If a copy to a device's memory has not as many bytes as there are. */
export function checkUpload(target: Region, data: Uint8Array): void {
  if (data.byteLength === target.byteLength) return;
  throw new RangeError(
    `Cannot upload '${target.label}' as it must get ${target.byteLength} bytes: ` +
      `current value is ${data.byteLength}`,
  );
}

/** A device that is opened. Disposal frees its memory after the op under way. */
export interface Device extends DeviceTraits, Disposable {
  /** One line for people, for example `cpu avx2, 2 threads`. */
  readonly description: string;
  /** What the ops are compiled for, for example `avx2`. */
  readonly instructionSet: string;
  /** Threads that an op uses. */
  readonly threads: number;
  /** The dtypes of keys and values that attention takes; those of 8 bits in decoding alone. */
  readonly cacheDtypes: readonly DType[];
  readonly kernels: Kernels;
  /** Absent where an op ends when its promise settles. */
  readonly stream?: DeviceStream | undefined;
  /** Absent while ops are timed one by one. */
  readonly recorder?: OpRecorder | undefined;
  /** Absent where an op ends when its promise settles. */
  readonly clock?: OpClock | undefined;
  /** Absent where a machine has one device of the kind. */
  readonly link?: DeviceLink | undefined;
  /** Memory that is left on the device; absent where it is the host's. */
  readonly freeBytes?: number | undefined;
  /** Names the device among all of its kind; absent where it is the machine itself. */
  readonly uuid?: string | undefined;
  /** Allocations that nobody has disposed of yet. */
  readonly liveAllocations: number;
  /** The most bytes that were allocated at once. */
  readonly peakBytes: number;
  /**
   * Zero-filled memory, 64-byte aligned.
   *
   * @param byteLength May be 0.
   * @param label What it is for.
   * @throws {RangeError} If `byteLength` is no size.
   * @throws {KernelError} If there is not enough memory.
   */
  allocate(byteLength: number, label: string): DeviceMemory;
  /**
   * Copies to the device, after the ops that were started.
   *
   * @throws {RangeError} If the lengths differ.
   */
  upload(target: Region, data: Uint8Array): Promise<void>;
  /** Copies from the device, after the ops that were started. */
  download(source: Region): Promise<Bytes>;
}
