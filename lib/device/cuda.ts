/**
 * A GPU as a device: memory of its own, ops in the order of one stream, large matrix products by
 * cuBLAS.
 *
 * @module
 */
import { DeviceError, invariant } from "../errors.ts";
import { Blas } from "../ffi/cublas.ts";
import { BlasLt } from "../ffi/cublaslt.ts";
import { CudaRuntime, type GpuProperties } from "../ffi/cudart.ts";
import { type KernelLibrary, openKernelLibrary } from "../ffi/locate.ts";
import type { Bytes } from "../ffi/memory.ts";
import { checkStatus, statusName } from "../ffi/status.ts";
import { CudaClock } from "./cuda_clock.ts";
import { CudaLink } from "./cuda_link.ts";
import { CudaQueue } from "./cuda_queue.ts";
import { CudaTransfer } from "./cuda_transfer.ts";
import {
  checkUpload,
  type Device,
  DEVICE_TRAITS,
  type DeviceLink,
  type DeviceMemory,
  type DeviceStream,
  type Kernels,
  type OpClock,
  type OpRecorder,
  type Region,
  type StreamMark,
} from "./device.ts";
import { allocateBytes, DeviceHeap } from "./heap.ts";
import type { KernelFunctions } from "./queue.ts";

/** What `openCudaDevice()` takes. */
export interface CudaOptions {
  /** The number of the GPU among those that CUDA_VISIBLE_DEVICES leaves. @default {0} */
  readonly ordinal?: number;
  /**
   * Whether sums of e4m3 products stay on the tensor cores, which then keep some 14 bits of them. What
   * rounding the factors to 4 bits loses is far more, and products gain a fifth of their rate.
   *
   * @default {true}
   */
  readonly fastAccumulation?: boolean;
}

/** What cuBLAS gets on Hopper, by NVIDIA's advice. */
const BLAS_WORKSPACE_BYTES = 32 << 20;

/** The compute capability whose cuBLASLt has a scale for each row. */
export const FP8_CAPABILITY = 90;

/** The parts of an open GPU, in the order in which they are opened. */
interface CudaParts {
  readonly ordinal: number;
  readonly runtime: CudaRuntime;
  readonly properties: GpuProperties;
  readonly library: KernelLibrary;
  readonly stream: bigint;
  readonly context: bigint;
  readonly transfer: CudaTransfer;
  readonly queue: CudaQueue;
  readonly clock: CudaClock;
  readonly link: CudaLink;
}

/**
 * Opens a GPU.
 *
 * @throws {DeviceError} If there is no GPU, driver or library, or the kernel library has no code for
 * the GPU; the message says what is missing.
 */
export async function openCudaDevice(options: CudaOptions = {}): Promise<Device> {
  const { ordinal = 0, fastAccumulation = true } = options;
  using owned = new DisposableStack();
  // Cheap things first: on most machines without a GPU it ends here.
  const runtime = owned.use(new CudaRuntime());
  const count = runtime.deviceCount();
  if (ordinal >= count) {
    throw new DeviceError(
      `Cannot open GPU ${ordinal} as its number must be below ${count}, the number of GPUs`,
    );
  }
  runtime.setDevice(ordinal);
  const properties = runtime.properties(ordinal);
  const library = await openKernelLibrary({ backend: "cuda", tests: false });
  owned.defer(() => library.close());
  const stream = runtime.createStream();
  owned.defer(() => runtime.destroyStream(stream));
  const { functions } = library;
  const context = createContext(functions, { ordinal, stream, properties });
  owned.defer(() => functions.sx_context_destroy(context));
  const byteLength = BLAS_WORKSPACE_BYTES;
  const workspace = allocateBytes(functions, { context, byteLength, what: "cuBLAS" });
  owned.defer(() => functions.sx_free(context, workspace));
  // The kernel library has a CUDA runtime of its own.
  runtime.makeCurrent();
  // Both use the workspace in the order of the stream.
  const blasOptions = { stream, workspace, workspaceBytes: byteLength };
  const blas = owned.use(new Blas(blasOptions));
  const blasLt = owned.use(new BlasLt({ ...blasOptions, fastAccumulation }));
  const transfer = owned.use(new CudaTransfer(runtime, stream));
  const queue = new CudaQueue({ functions, context, runtime, blas, blasLt, transfer, stream });
  owned.defer(() => queue.close());
  const clock = owned.use(new CudaClock(runtime, stream));
  const link = owned.use(new CudaLink({ runtime, ordinal, stream }));
  const base = { runtime, properties, library, stream, context, ordinal };
  return new CudaDevice({ ...base, transfer, queue, clock, link }, owned.move());
}

function createContext(
  functions: KernelFunctions,
  gpu: { ordinal: number; stream: bigint; properties: GpuProperties },
): bigint {
  const { ordinal, stream, properties } = gpu;
  const out = new BigUint64Array(1);
  const status = functions.sx_context_create(ordinal, 1, 0, stream, out);
  const { name, capability } = properties;
  if (statusName(status) === "SX_UNSUPPORTED") {
    throw new DeviceError(
      `Cannot open ${name} as the kernel library must have code for it: ` +
        `current value is compute capability ${capabilityText(capability)}`,
    );
  }
  checkStatus(status, { op: "sx_context_create", shapes: () => name, errorText: () => "" });
  const context = out[0] ?? 0n;
  invariant(context !== 0n, "a created context has an address");
  return context;
}

/** For example `9.0`. */
export function capabilityText(capability: number): string {
  return `${Math.floor(capability / 10)}.${capability % 10}`;
}

class CudaDevice implements Device {
  readonly kind = DEVICE_TRAITS.cuda.kind;
  readonly queryDtype = DEVICE_TRAITS.cuda.queryDtype;
  readonly resultDtype = DEVICE_TRAITS.cuda.resultDtype;
  readonly hasHostMemory = DEVICE_TRAITS.cuda.hasHostMemory;
  readonly chunkTokens = DEVICE_TRAITS.cuda.chunkTokens;
  readonly weightKinds: readonly string[];
  readonly decoding = DEVICE_TRAITS.cuda.decoding;
  readonly flushBytes = DEVICE_TRAITS.cuda.flushBytes;
  readonly cacheKinds = DEVICE_TRAITS.cuda.cacheKinds;
  readonly cacheDtypes = ["bf16", "i8", "f8e4m3"] as const;
  readonly fp8Rows: Device["fp8Rows"];
  readonly instructionSet: string;
  readonly threads = 1;
  readonly description: string;
  readonly stream: DeviceStream;
  readonly #parts: CudaParts;
  readonly #owned: DisposableStack;
  readonly #heap: DeviceHeap;
  #disposed = false;

  /** @param owned Disposed of last. */
  constructor(parts: CudaParts, owned: DisposableStack) {
    const { properties, ordinal, runtime, stream, library: { functions }, context } = parts;
    this.#parts = parts;
    this.#owned = owned;
    this.instructionSet = `sm_${properties.capability}`;
    const hasFp8 = properties.capability === FP8_CAPABILITY;
    const { fp8Rows, weightKinds } = DEVICE_TRAITS.cuda;
    this.fp8Rows = hasFp8 ? fp8Rows : undefined;
    this.weightKinds = weightKinds.filter((kind) => kind !== "fp8" || hasFp8);
    this.description = `cuda:${ordinal} ${properties.name} (${this.instructionSet})`;
    this.#heap = new DeviceHeap({
      functions,
      context,
      isHostMemory: false,
      where: ` on cuda:${ordinal}`,
      // The runtime waits for the ops that still use it.
      whenUnused: (free) => free(),
    });
    const makeCurrent = () => runtime.makeCurrent();
    this.stream = { handle: stream, makeCurrent, mark: () => this.#mark() };
  }

  get kernels(): Kernels {
    return this.#parts.queue;
  }

  get recorder(): OpRecorder {
    return this.#parts.queue;
  }

  get clock(): OpClock {
    return this.#parts.clock;
  }

  get link(): DeviceLink {
    return this.#parts.link;
  }

  get uuid(): string {
    return this.#parts.properties.uuid;
  }

  get liveAllocations(): number {
    return this.#heap.liveAllocations;
  }

  get peakBytes(): number {
    return this.#heap.peakBytes;
  }

  get freeBytes(): number {
    return this.#parts.runtime.memory().free;
  }

  allocate(byteLength: number, label: string): DeviceMemory {
    return this.#heap.allocate(byteLength, label);
  }

  async upload(target: Region, data: Uint8Array): Promise<void> {
    checkUpload(target, data);
    await this.#parts.transfer.upload(target.address, data);
  }

  async download(source: Region): Promise<Bytes> {
    return await this.#parts.transfer.download(source.address, source.byteLength);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const { runtime, stream } = this.#parts;
    try {
      runtime.synchronizeNow(stream);
    } catch (error) {
      // A GPU that failed says so to whoever waits for its ops; what is left is to let go of it.
      if (!(error instanceof DeviceError)) throw error;
    }
    this.#heap.close();
    this.#owned.dispose();
  }

  /** Marks the end of the stream; undefined while ops are recorded. */
  #mark(): StreamMark | undefined {
    const { runtime, stream, queue } = this.#parts;
    if (queue.isRecording) return undefined;
    const event = runtime.createEvent();
    runtime.recordEvent(event, stream);
    return {
      isDone: () => runtime.isEventDone(event),
      [Symbol.dispose]: () => runtime.destroyEvent(event),
    };
  }
}
