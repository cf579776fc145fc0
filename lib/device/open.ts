/**
 * Chooses and opens the device that a run asks for.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { optionError } from "../options.ts";
import { CUBLAS, findDriver, locateCudaLibrary } from "../ffi/cuda_locate.ts";
import { CudaRuntime } from "../ffi/cudart.ts";
import { openKernelLibrary } from "../ffi/locate.ts";
import type { RowsSetName } from "../ffi/status.ts";
import { openCpuDevice } from "./cpu.ts";
import { capabilityText, FP8_CAPABILITY, openCudaDevice } from "./cuda.ts";
import { type Device, DEVICE_TRAITS } from "./device.ts";

/** What a user may ask for. */
export const DEVICE_WISHES = ["auto", "cpu", "cuda"] as const satisfies readonly DeviceWish[];

/** What a user asks for; `auto` takes a usable GPU, or else the CPU. */
export type DeviceWish = "auto" | "cpu" | "cuda";

/** What is computed with. */
export type DeviceKind = "cpu" | "cuda";

/** The outcome of a wish. */
export interface DeviceChoice {
  readonly kind: DeviceKind;
  /** What the user has to know of it: that `auto` took a GPU, or why it did not. */
  readonly note?: string;
}

/** What `openDevice()` takes. */
export interface OpenDeviceOptions {
  readonly kind: DeviceKind;
  /** Threads of an op on the CPU, 1 to 256. */
  readonly threads: number;
  /** On a CPU: see `CpuOptions.rowsSet`. */
  readonly rowsSet?: RowsSetName | undefined;
  /** The number of the GPU. @default {0} */
  readonly ordinal?: number;
}

/**
 * Threads of each of some processes on this machine: as asked for, or its cores divided evenly.
 *
 * @param wanted 0 divides the cores.
 */
export function threadsPerProcess(wanted: number, options: { processCount: number }): number {
  if (wanted > 0) return wanted;
  const share = Math.floor(navigator.hardwareConcurrency / options.processCount);
  return Math.min(MAX_THREADS, Math.max(1, share));
}

/** What the kernel library takes. */
const MAX_THREADS = 256;

/** The oldest compute capability that the kernels are built for. */
const OLDEST_CAPABILITY = 80;

/**
 * Turns a wish into a choice, without opening the device.
 *
 * @param wish `cuda` is never turned into the CPU.
 * @param options `dtype`: what is computed with; a GPU has code for bf16 only. `weights`, `head` and
 * `cache` (keys and values): what those are rounded to, if not to that.
 * @throws {UsageError} If the GPU is to compute in f32, or with weights or a cache that it has no code
 * for.
 */
export async function chooseDevice(
  wish: DeviceWish,
  options: {
    dtype: "bf16" | "f32";
    weights?: string | undefined;
    head?: string | undefined;
    cache?: string | undefined;
  },
): Promise<DeviceChoice> {
  const { dtype, cache = dtype } = options;
  const kinds = [options.weights ?? dtype, options.head ?? dtype];
  if (wish === "cpu") return { kind: "cpu" };
  const { weightKinds, cacheKinds } = DEVICE_TRAITS.cuda;
  if (wish === "cuda") {
    const refused = kinds.find((kind) => !weightKinds.includes(kind));
    if (dtype === "bf16" && refused !== undefined) {
      throw optionError({ action: "compute on a GPU", name: "weights" }, {
        rule: `${weightKinds.join(" or ")} where 'device' is cuda`,
        value: refused,
      });
    }
    if (dtype === "bf16" && !cacheKinds.includes(cache)) {
      throw optionError({ action: "compute on a GPU", name: "cache" }, {
        rule: `${cacheKinds.join(" or ")} where 'device' is cuda`,
        value: cache,
      });
    }
    if (dtype === "bf16") return { kind: "cuda" };
    throw optionError({ action: "compute on a GPU", name: "precision" }, {
      rule: "bf16 where 'device' is cuda",
      value: dtype,
    });
  }
  const lacks = (what: string, has: readonly string[], found: readonly string[]) => {
    const other = found.find((kind) => !has.includes(kind));
    return other === undefined ? undefined : `takes ${what} in ${has.join(", ")}, not in ${other}`;
  };
  const reason = lacks("numbers", ["bf16"], [dtype]) ?? lacks("weights", weightKinds, kinds) ??
    lacks("keys and values", cacheKinds, [cache]);
  const needsFp8 = reason === undefined && kinds.includes("fp8");
  try {
    const name = await findGpu(needsFp8 ? FP8_CAPABILITY : undefined);
    if (reason !== undefined) return { kind: "cpu", note: `Device: the CPU, as ${name} ${reason}` };
    return { kind: "cuda", note: `Device: ${name} (--device cpu computes on the CPU)` };
  } catch (error) {
    // `auto` asks for the best device that is usable, and this one is not.
    if (!(error instanceof DeviceError)) throw error;
    if (findDriver() === undefined) return { kind: "cpu" };
    return { kind: "cpu", note: `Device: the CPU, as the GPU is not usable: ${error.message}` };
  }
}

/** The name of the first GPU, if everything is there. @param needed The capability that it must have. */
async function findGpu(needed: number | undefined): Promise<string> {
  using runtime = new CudaRuntime();
  if (runtime.deviceCount() < 1) throw new DeviceError("Cannot use a GPU as there is none");
  const { name, capability } = runtime.properties(0);
  if (capability < OLDEST_CAPABILITY) {
    throw new DeviceError(
      `Cannot use ${name} as its compute capability must be at least ` +
        `${capabilityText(OLDEST_CAPABILITY)}: current value is ${capabilityText(capability)}`,
    );
  }
  if (needed !== undefined && capability !== needed) {
    throw new DeviceError(
      `Cannot use ${name} for weights in fp8 as its compute capability must be ` +
        `${capabilityText(needed)}: current value is ${capabilityText(capability)}`,
    );
  }
  locateCudaLibrary(CUBLAS);
  (await openKernelLibrary({ backend: "cuda", tests: false })).close();
  return name;
}

/** The UUIDs of the GPUs that this process sees, in order. @throws {DeviceError} If there is none. */
export function listGpus(): string[] {
  using runtime = new CudaRuntime();
  const count = runtime.deviceCount();
  return Array.from({ length: count }, (_, ordinal) => runtime.properties(ordinal).uuid);
}

/**
 * Opens a device; its `description` says which one it is.
 *
 * @throws {DeviceError} If it cannot be used.
 */
export async function openDevice(options: OpenDeviceOptions): Promise<Device> {
  const { kind, threads, rowsSet, ordinal = 0 } = options;
  return kind === "cpu"
    ? await openCpuDevice({ threads, rowsSet })
    : await openCudaDevice({ ordinal });
}
