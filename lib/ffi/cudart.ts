/**
 * The CUDA runtime's functions that this program calls; signatures follow `cuda_runtime_api.h` of
 * CUDA 12 and 13, which agree in them.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { CUDART, locateCudaLibrary } from "./cuda_locate.ts";
import { type ForeignLibrary, openResidentLibrary } from "./library.ts";

/** Each parameter is commented with its C declaration; streams, events and graphs are pointers. */
const SYMBOLS = {
  // cudaError_t cudaRuntimeGetVersion(int* version)
  cudaRuntimeGetVersion: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaDriverGetVersion(int* version)
  cudaDriverGetVersion: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaGetDeviceCount(int* count)
  cudaGetDeviceCount: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaSetDevice(int device)
  cudaSetDevice: { parameters: ["i32"], result: "i32" },
  // cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device)
  cudaGetDeviceProperties: { parameters: ["buffer", "i32"], result: "i32" },
  // cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attr, int device)
  cudaDeviceGetAttribute: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  // cudaError_t cudaMemGetInfo(size_t* free, size_t* total)
  cudaMemGetInfo: { parameters: ["buffer", "buffer"], result: "i32" },
  // cudaError_t cudaMallocHost(void** ptr, size_t size)
  cudaMallocHost: { parameters: ["buffer", "usize"], result: "i32" },
  // cudaError_t cudaFreeHost(void* ptr)
  cudaFreeHost: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t count, cudaMemcpyKind kind,
  //                             cudaStream_t stream)
  cudaMemcpyAsync: { parameters: ["u64", "u64", "usize", "i32", "u64"], result: "i32" },
  // cudaError_t cudaMemcpyPeerAsync(void* dst, int dstDevice, const void* src, int srcDevice,
  //                                 size_t count, cudaStream_t stream)
  cudaMemcpyPeerAsync: { parameters: ["u64", "i32", "u64", "i32", "usize", "u64"], result: "i32" },
  // cudaError_t cudaDeviceCanAccessPeer(int* canAccessPeer, int device, int peerDevice)
  cudaDeviceCanAccessPeer: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  // cudaError_t cudaDeviceEnablePeerAccess(int peerDevice, unsigned int flags)
  cudaDeviceEnablePeerAccess: { parameters: ["i32", "u32"], result: "i32" },
  // cudaError_t cudaGetLastError()
  cudaGetLastError: { parameters: [], result: "i32" },
  // cudaError_t cudaStreamCreate(cudaStream_t* stream)
  cudaStreamCreate: { parameters: ["buffer"], result: "i32" },
  // cudaError_t cudaStreamDestroy(cudaStream_t stream)
  cudaStreamDestroy: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaStreamSynchronize(cudaStream_t stream)
  cudaStreamSynchronize: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaStreamQuery(cudaStream_t stream)
  cudaStreamQuery: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags)
  cudaStreamWaitEvent: { parameters: ["u64", "u64", "u32"], result: "i32" },
  cudaStreamSynchronizeNonblocking: {
    name: "cudaStreamSynchronize",
    parameters: ["u64"],
    result: "i32",
    nonblocking: true,
  },
  // cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
  cudaStreamBeginCapture: { parameters: ["u64", "i32"], result: "i32" },
  // cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph)
  cudaStreamEndCapture: { parameters: ["u64", "buffer"], result: "i32" },
  // cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, uint64_t flags)
  cudaGraphInstantiate: { parameters: ["buffer", "u64", "u64"], result: "i32" },
  // cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
  cudaGraphLaunch: { parameters: ["u64", "u64"], result: "i32" },
  // cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
  cudaGraphExecDestroy: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaGraphDestroy(cudaGraph_t graph)
  cudaGraphDestroy: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags)
  cudaEventCreateWithFlags: { parameters: ["buffer", "u32"], result: "i32" },
  // cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
  cudaEventRecord: { parameters: ["u64", "u64"], result: "i32" },
  // cudaError_t cudaEventQuery(cudaEvent_t event)
  cudaEventQuery: { parameters: ["u64"], result: "i32" },
  // cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end)
  cudaEventElapsedTime: { parameters: ["buffer", "u64", "u64"], result: "i32" },
  // cudaError_t cudaEventSynchronize(cudaEvent_t event)
  cudaEventSynchronizeNonblocking: {
    name: "cudaEventSynchronize",
    parameters: ["u64"],
    result: "i32",
    nonblocking: true,
  },
  // cudaError_t cudaEventDestroy(cudaEvent_t event)
  cudaEventDestroy: { parameters: ["u64"], result: "i32" },
  // const char* cudaGetErrorName(cudaError_t error)
  cudaGetErrorName: { parameters: ["i32"], result: "pointer" },
  // const char* cudaGetErrorString(cudaError_t error)
  cudaGetErrorString: { parameters: ["i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `cudaMemcpyKind`. */
const COPY_KINDS = { toDevice: 1, toHost: 2 } as const;
/** `cudaStreamCaptureModeRelaxed`: calls of other threads are left alone. */
const CAPTURE_RELAXED = 2;
/** `cudaEventDefault` and `cudaEventDisableTiming`. */
const EVENT_FLAGS = { timed: 0, untimed: 2 } as const;
/** `cudaErrorNotReady`: no failure. */
const NOT_READY = 600;
/** `cudaDevAttrComputeCapabilityMajor` and `...Minor`, `cudaDevAttrMultiProcessorCount`. */
const ATTRIBUTES = { major: 75, minor: 76, multiprocessors: 16 } as const;
/** `cudaDeviceProp` begins with name and UUID; the rest differs between versions. */
const NAME_BYTES = 256;
const UUID_BYTES = 16;
const PROPERTIES_BYTES = 8192;
/** Looks, of about a microsecond each, before a wait leaves the thread to others. */
const SPINS = 64;
const POLL_MS = 1;

/** The functions that return a status. */
type StatusFunction = Exclude<
  keyof typeof SYMBOLS,
  "cudaGetErrorName" | "cudaGetErrorString" | "cudaGetLastError" | `${string}Nonblocking`
>;

/** A GPU as the runtime describes it. */
export interface GpuProperties {
  readonly name: string;
  /** Names this GPU among all there are, in hexadecimal. */
  readonly uuid: string;
  /** Compute capability, for example 90 for 9.0. */
  readonly capability: number;
  readonly multiprocessors: number;
}

/** The CUDA runtime, opened by and for one owner. */
export class CudaRuntime implements Disposable {
  readonly path: string;
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  #open = true;
  /** The GPU that is used from here; undefined until it is chosen. */
  #ordinal: number | undefined;

  /** @throws {DeviceError} If the library is nowhere to be found, or cannot be opened. */
  constructor(path: string = locateCudaLibrary(CUDART)) {
    this.path = path;
    this.#library = openResidentLibrary(path, SYMBOLS);
  }

  /** Versions as 1000 * major + 10 * minor; the driver's is 0 without a driver. */
  versions(): { runtime: number; driver: number } {
    return {
      runtime: this.#int("cudaRuntimeGetVersion"),
      driver: this.#int("cudaDriverGetVersion"),
    };
  }

  /** The number of GPUs. @throws {DeviceError} If there is no driver, or no GPU. */
  deviceCount(): number {
    return this.#int("cudaGetDeviceCount");
  }

  /** Makes a GPU the one of this thread, and of all that is asked for from here on. */
  setDevice(ordinal: number): void {
    this.#check("cudaSetDevice", this.#symbols.cudaSetDevice(ordinal));
    this.#ordinal = ordinal;
  }

  /** Makes the chosen GPU this thread's again, as another one may have been used in between. */
  makeCurrent(): void {
    if (this.#ordinal === undefined) return;
    this.#check("cudaSetDevice", this.#symbols.cudaSetDevice(this.#ordinal));
  }

  /** What a GPU is. */
  properties(ordinal: number): GpuProperties {
    const bytes = new Uint8Array(PROPERTIES_BYTES);
    const status = this.#symbols.cudaGetDeviceProperties(bytes, ordinal);
    this.#check("cudaGetDeviceProperties", status);
    const name = new TextDecoder().decode(
      bytes.subarray(0, bytes.subarray(0, NAME_BYTES).indexOf(0)),
    );
    const uuid = bytes.subarray(NAME_BYTES, NAME_BYTES + UUID_BYTES).toHex();
    const attribute = (which: keyof typeof ATTRIBUTES): number => {
      const out = new Int32Array(1);
      const code = ATTRIBUTES[which];
      const status = this.#symbols.cudaDeviceGetAttribute(viewOf(out), code, ordinal);
      this.#check("cudaDeviceGetAttribute", status);
      return out[0] ?? 0;
    };
    const capability = 10 * attribute("major") + attribute("minor");
    return { name, uuid, capability, multiprocessors: attribute("multiprocessors") };
  }

  /** Memory of the GPU, in bytes. */
  memory(): { free: number; total: number } {
    this.makeCurrent();
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
    const status = this.#symbols.cudaMemGetInfo(viewOf(free), viewOf(total));
    this.#check("cudaMemGetInfo", status);
    return { free: Number(free[0] ?? 0n), total: Number(total[0] ?? 0n) };
  }

  /** Host memory that copies reach without a detour. @returns Its address. */
  allocateHost(byteLength: number): bigint {
    this.makeCurrent();
    const out = new BigUint64Array(1);
    const status = this.#symbols.cudaMallocHost(viewOf(out), BigInt(byteLength));
    this.#check("cudaMallocHost", status);
    return out[0] ?? 0n;
  }

  freeHost(address: bigint): void {
    this.#symbols.cudaFreeHost(address);
  }

  /** Starts a copy between pinned host memory and the device, after what the stream has. */
  copyAsync(
    direction: keyof typeof COPY_KINDS,
    copy: { to: bigint; from: bigint; byteLength: number; stream: bigint },
  ): void {
    const { to, from, byteLength, stream } = copy;
    const kind = COPY_KINDS[direction];
    const status = this.#symbols.cudaMemcpyAsync(to, from, BigInt(byteLength), kind, stream);
    this.#check("cudaMemcpyAsync", status);
  }

  /** Starts a copy from this GPU to another one, after what the stream of this one has. */
  copyToPeer(
    copy: { to: bigint; peer: number; from: bigint; byteLength: number; stream: bigint },
  ): void {
    const { to, peer, from, byteLength, stream } = copy;
    const own = this.#ordinal ?? 0;
    const bytes = BigInt(byteLength);
    const status = this.#symbols.cudaMemcpyPeerAsync(to, peer, from, own, bytes, stream);
    this.#check("cudaMemcpyPeerAsync", status);
  }

  /**
   * Lets this GPU reach another one's memory where the machine can; else copies between the two go
   * by way of the host, and give the same.
   */
  enablePeer(peer: number): void {
    this.makeCurrent();
    const out = new Int32Array(1);
    const status = this.#symbols.cudaDeviceCanAccessPeer(viewOf(out), this.#ordinal ?? 0, peer);
    this.#check("cudaDeviceCanAccessPeer", status);
    if (out[0] !== 1) return;
    // A refusal, or that it is enabled already, stays behind as the last error if nobody takes it.
    if (this.#symbols.cudaDeviceEnablePeerAccess(peer, 0) !== 0) this.#symbols.cudaGetLastError();
  }

  createStream(): bigint {
    this.makeCurrent();
    return this.#handle("cudaStreamCreate", (out) => this.#symbols.cudaStreamCreate(out));
  }

  /** As all that gives something back: a GPU that failed says so to whoever waits for its ops. */
  destroyStream(stream: bigint): void {
    this.#symbols.cudaStreamDestroy(stream);
  }

  /** Waits until the stream's work is done; the event loop goes on. @throws {DeviceError} If it failed. */
  async synchronize(stream: bigint): Promise<void> {
    if (!this.#isFirst) return await this.#poll(() => this.#isStreamDone(stream));
    const status = await this.#symbols.cudaStreamSynchronizeNonblocking(stream);
    this.#check("cudaStreamSynchronize", status);
  }

  /** As `synchronize()`, on this thread: for the end of a device, when nobody can wait. */
  synchronizeNow(stream: bigint): void {
    this.#check("cudaStreamSynchronize", this.#symbols.cudaStreamSynchronize(stream));
  }

  /** A mark for streams. @param kind Whether the time between two of them is wanted. */
  createEvent(kind: keyof typeof EVENT_FLAGS = "untimed"): bigint {
    this.makeCurrent();
    return this.#handle(
      "cudaEventCreateWithFlags",
      (out) => this.#symbols.cudaEventCreateWithFlags(out, EVENT_FLAGS[kind]),
    );
  }

  destroyEvent(event: bigint): void {
    this.#symbols.cudaEventDestroy(event);
  }

  recordEvent(event: bigint, stream: bigint): void {
    this.#check("cudaEventRecord", this.#symbols.cudaEventRecord(event, stream));
  }

  /** Lets a stream, of any GPU, go on only after what an event was recorded behind; never waits. */
  waitInStream(stream: bigint, event: bigint): void {
    this.#check("cudaStreamWaitEvent", this.#symbols.cudaStreamWaitEvent(stream, event, 0));
  }

  /** Whether all that an event was recorded behind has ended; never waits. */
  isEventDone(event: bigint): boolean {
    const status = this.#symbols.cudaEventQuery(event);
    if (status !== NOT_READY) this.#check("cudaEventQuery", status);
    return status !== NOT_READY;
  }

  /** Milliseconds between two timed events that are done. */
  elapsedMs(start: bigint, end: bigint): number {
    const out = new Float32Array(1);
    const status = this.#symbols.cudaEventElapsedTime(viewOf(out), start, end);
    this.#check("cudaEventElapsedTime", status);
    return out[0] ?? 0;
  }

  /** Waits for what an event was recorded behind; the event loop goes on. */
  async waitForEvent(event: bigint): Promise<void> {
    if (!this.#isFirst) return await this.#poll(() => this.isEventDone(event));
    const status = await this.#symbols.cudaEventSynchronizeNonblocking(event);
    this.#check("cudaEventSynchronize", status);
  }

  /** Records what is started on the stream from here on, without running it. */
  beginCapture(stream: bigint): void {
    this.makeCurrent();
    const status = this.#symbols.cudaStreamBeginCapture(stream, CAPTURE_RELAXED);
    this.#check("cudaStreamBeginCapture", status);
  }

  /** Ends the recording. @returns The graph, ready to launch. */
  endCapture(stream: bigint): bigint {
    const graph = this.#handle(
      "cudaStreamEndCapture",
      (out) => this.#symbols.cudaStreamEndCapture(stream, out),
    );
    try {
      return this.#handle(
        "cudaGraphInstantiate",
        (out) => this.#symbols.cudaGraphInstantiate(out, graph, 0n),
      );
    } finally {
      this.#symbols.cudaGraphDestroy(graph);
    }
  }

  launchGraph(graph: bigint, stream: bigint): void {
    this.makeCurrent();
    this.#check("cudaGraphLaunch", this.#symbols.cudaGraphLaunch(graph, stream));
  }

  destroyGraph(graph: bigint): void {
    this.#symbols.cudaGraphExecDestroy(graph);
  }

  /** Closes the library; a second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#library.close();
  }

  /** Other threads use the first GPU, and a wait there would begin to use it. */
  get #isFirst(): boolean {
    return (this.#ordinal ?? 0) === 0;
  }

  #isStreamDone(stream: bigint): boolean {
    const status = this.#symbols.cudaStreamQuery(stream);
    if (status !== NOT_READY) this.#check("cudaStreamQuery", status);
    return status !== NOT_READY;
  }

  async #poll(isDone: () => boolean): Promise<void> {
    for (let spin = 0; spin < SPINS; spin++) if (isDone()) return;
    while (!isDone()) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }

  get #symbols(): ForeignLibrary<typeof SYMBOLS>["symbols"] {
    if (!this.#open) throw new TypeError("Cannot call the CUDA runtime as it is disposed");
    return this.#library.symbols;
  }

  #int(name: "cudaRuntimeGetVersion" | "cudaDriverGetVersion" | "cudaGetDeviceCount"): number {
    const out = new Int32Array(1);
    this.#check(name, this.#symbols[name](viewOf(out)));
    return out[0] ?? 0;
  }

  #handle(name: StatusFunction, call: (out: Uint8Array<ArrayBuffer>) => number): bigint {
    const out = new BigUint64Array(1);
    this.#check(name, call(viewOf(out)));
    return out[0] ?? 0n;
  }

  #check(name: StatusFunction | "cudaEventSynchronize", status: number): void {
    if (status === 0) return;
    const text = (pointer: Deno.PointerValue): string =>
      pointer === null ? `error ${status}` : Deno.UnsafePointerView.getCString(pointer);
    const { symbols } = this.#library;
    const [word, sentence] = [symbols.cudaGetErrorName(status), symbols.cudaGetErrorString(status)];
    const gpu = this.#ordinal === undefined ? "the GPU" : `GPU ${this.#ordinal}`;
    throw new DeviceError(
      `Cannot use ${gpu} as ${name} returned ${text(word)}: ${text(sentence)}`,
    );
  }
}

function viewOf(
  out: Int32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(out.buffer);
}
