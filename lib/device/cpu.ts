/**
 * The CPU as a device: its memory is host memory, its ops run on a thread pool of the library.
 *
 * @module
 */
import { environmentVariable } from "../environment.ts";
import { DeviceError, invariant } from "../errors.ts";
import { type KernelLibrary, openKernelLibrary } from "../ffi/locate.ts";
import type { Bytes } from "../ffi/memory.ts";
import {
  checkStatus,
  INSTRUCTION_SET_CODES,
  type InstructionSet,
  type RowsSetName,
} from "../ffi/status.ts";
import { ISA_ROWS } from "../ffi/symbols.ts";
import { type CpuDescription, describeLibrary } from "./cpu_description.ts";
import {
  checkUpload,
  type Device,
  DEVICE_TRAITS,
  type DeviceMemory,
  type Kernels,
  type OpRecorder,
  type Region,
} from "./device.ts";
import { DeviceHeap } from "./heap.ts";
import { type KernelFunctions, KernelQueue } from "./queue.ts";

/** What `openCpuDevice()` takes. */
export interface CpuOptions {
  /** Threads that an op uses, 1 to 256, the calling one among them. */
  readonly threads: number;
  /**
   * A set, or two as `avx512_bf16+avx512`: the second one multiplies the rows of decode steps.
   *
   * @default {"auto"} The environment variable STARX_ISA, or else the best of this machine.
   */
  readonly instructionSet?: string;
  /** With `auto`: what multiplies the rows of decode steps. @default {"own"} */
  readonly rowsSet?: RowsSetName | undefined;
  /** Whether to open the tests' library, which has the set `scalar` alone. @default {false} */
  readonly tests?: boolean;
}

/** The most threads that the library takes. */
const MAX_THREADS = 256;
/**
 * Operations of one thread per microsecond: half of what the slowest large ops reach, or what large
 * products reach on a matrix unit.
 */
const FLOPS_PER_US = { amx_bf16: 1_000_000, others: 20_000 } as const;
const BYTES_PER_US = 20_000;

/**
 * Opens the CPU.
 *
 * @throws {DeviceError} If the library is missing or damaged, or the machine lacks the
 * instruction set.
 * @throws {RangeError} If the number of threads is out of its range.
 */
export async function openCpuDevice(options: CpuOptions): Promise<Device> {
  const { threads, tests = false } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new RangeError(
      `Cannot open the CPU as 'threads' must be 1 to ${MAX_THREADS}: current value is ${threads}`,
    );
  }
  const { instructionSet = "auto" } = options;
  const requested = requestedSets(instructionSet);
  const library = await openKernelLibrary({ backend: "cpu", tests });
  try {
    const description = describeLibrary(library);
    const { rowsSet } = options;
    const sets = chooseSets(requested, {
      description,
      rowsSet,
      isNamed: instructionSet !== "auto",
    });
    const context = createContext(library.functions, { threads, sets });
    return new CpuDevice(library, { context, threads, sets });
  } catch (error) {
    library.close();
    throw error;
  }
}

/** What computes: everything, and the products of few rows. */
export interface CpuSets {
  readonly base: InstructionSet;
  /** The same as `base` where one set does all. */
  readonly rows: InstructionSet;
}

/**
 * The sets that the caller or else the environment names.
 *
 * @throws {DeviceError} If there is no such set.
 */
export function requestedSets(named: string): CpuSets {
  const isNamed = named !== "auto";
  const text = isNamed ? named : environmentVariable("STARX_ISA") ?? "auto";
  const [base = "", rows = base, ...others] = text.split("+");
  const isMixed = rows !== base && (base === "auto" || rows === "auto");
  if (isInstructionSet(base) && isInstructionSet(rows) && !isMixed && others.length === 0) {
    return { base, rows };
  }
  const names = Object.keys(INSTRUCTION_SET_CODES);
  throw new DeviceError(
    `Cannot open the CPU as ${isNamed ? "its set" : "the environment's STARX_ISA"} must be one of ${
      names.join(", ")
    }, or two of them with + between: current value is ${JSON.stringify(text)}`,
  );
}

function isInstructionSet(name: string): name is InstructionSet {
  return Object.hasOwn(INSTRUCTION_SET_CODES, name);
}

function chooseSets(
  requested: CpuSets,
  options: { description: CpuDescription; rowsSet: RowsSetName | undefined; isNamed: boolean },
): CpuSets {
  const { description, rowsSet = "own", isNamed } = options;
  const { best, instructionSets, scalar } = description;
  let sets = requested;
  if (requested.base === "auto") {
    if (!isInstructionSet(best)) {
      throw new DeviceError(
        "Cannot open the CPU as it must have AVX2, FMA and F16C: this machine lacks them",
      );
    }
    sets = { base: best, rows: rowsSet === "own" ? best : rowsSet };
  }
  // Who asked for it does not see it in a message about the machine alone.
  const origin = requested.base === "auto" ? "'rowsSet'" : isNamed ? undefined : "STARX_ISA";
  for (const set of [sets.base, sets.rows]) {
    if (set === "scalar" ? scalar : instructionSets.includes(set)) continue;
    const found = [...instructionSets, ...(scalar ? ["scalar"] : [])];
    throw new DeviceError(
      `Cannot open the CPU as the machine and the library must have ${set}` +
        `${origin === undefined ? "" : `, which ${origin} names`}: ` +
        `current value is ${found.join(", ") || "none"}`,
    );
  }
  return sets;
}

function createContext(
  functions: KernelFunctions,
  options: { threads: number; sets: CpuSets },
): bigint {
  const { threads, sets: { base, rows } } = options;
  const out = new BigUint64Array(1);
  const code = INSTRUCTION_SET_CODES[base] + ISA_ROWS * INSTRUCTION_SET_CODES[rows];
  checkStatus(functions.sx_context_create(0, threads, code, 0n, out), {
    op: "sx_context_create",
    shapes: () => `${threads} threads, ${setsText({ base, rows })}`,
    errorText: () => "",
  });
  const context = out[0] ?? 0n;
  invariant(context !== 0n, "a created context has an address");
  return context;
}

/** As STARX_ISA takes them. */
function setsText({ base, rows }: CpuSets): string {
  return rows === base ? base : `${base}+${rows}`;
}

class CpuDevice implements Device {
  readonly kind = DEVICE_TRAITS.cpu.kind;
  readonly queryDtype = DEVICE_TRAITS.cpu.queryDtype;
  readonly resultDtype = DEVICE_TRAITS.cpu.resultDtype;
  readonly hasHostMemory = DEVICE_TRAITS.cpu.hasHostMemory;
  readonly chunkTokens = DEVICE_TRAITS.cpu.chunkTokens;
  readonly weightKinds = DEVICE_TRAITS.cpu.weightKinds;
  readonly cacheKinds = DEVICE_TRAITS.cpu.cacheKinds;
  readonly decoding = DEVICE_TRAITS.cpu.decoding;
  readonly flushBytes = DEVICE_TRAITS.cpu.flushBytes;
  readonly cacheDtypes = ["f32", "bf16", "i8", "f8e4m3"] as const;
  readonly instructionSet: string;
  readonly threads: number;
  readonly description: string;
  readonly #library: KernelLibrary;
  readonly #context: bigint;
  readonly #queue: KernelQueue;
  readonly #heap: DeviceHeap;
  #disposed = false;

  constructor(
    library: KernelLibrary,
    options: { context: bigint; threads: number; sets: CpuSets },
  ) {
    const { context, threads, sets } = options;
    const { base: instructionSet } = sets;
    this.#library = library;
    this.#context = context;
    this.threads = threads;
    this.instructionSet = instructionSet;
    this.description = `cpu ${setsText(sets)}, ${threads} thread${threads === 1 ? "" : "s"}`;
    const flopsPerUs = instructionSet === "amx_bf16" ? FLOPS_PER_US.amx_bf16 : FLOPS_PER_US.others;
    const cost = { flopsPerUs: flopsPerUs * threads, bytesPerUs: BYTES_PER_US };
    const { functions } = library;
    this.#queue = new KernelQueue(functions, { context, cost });
    this.#heap = new DeviceHeap({
      functions,
      context,
      isHostMemory: true,
      where: "",
      whenUnused: (free) => this.#queue.whenIdle(free),
    });
  }

  get kernels(): Kernels {
    return this.#queue;
  }

  get recorder(): OpRecorder {
    return this.#queue;
  }

  get liveAllocations(): number {
    return this.#heap.liveAllocations;
  }

  get peakBytes(): number {
    return this.#heap.peakBytes;
  }

  allocate(byteLength: number, label: string): DeviceMemory {
    return this.#heap.allocate(byteLength, label);
  }

  async upload(target: Region, data: Uint8Array): Promise<void> {
    checkUpload(target, data);
    await this.#queue.idle();
    target.hostBytes().set(data);
  }

  async download(source: Region): Promise<Bytes> {
    await this.#queue.idle();
    return source.hostBytes().slice();
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#queue.close();
    this.#heap.close();
    // The library closes last: an op under way runs its code.
    this.#queue.whenIdle(() => {
      this.#library.functions.sx_context_destroy(this.#context);
      this.#library.close();
    });
  }
}
