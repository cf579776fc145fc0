/**
 * Devices for tests: opened for one test, and empty of allocations at its end.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { describeCpu } from "../../lib/device/cpu_description.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { DeviceError } from "../../lib/errors.ts";
import { CUBLAS, CUDART, locateCudaLibrary } from "../../lib/ffi/cuda_locate.ts";
import { CudaRuntime } from "../../lib/ffi/cudart.ts";
import { openLibrary } from "../../lib/ffi/library.ts";
import { INSTRUCTION_SET_CODES, type InstructionSet } from "../../lib/ffi/status.ts";
import { assertEquals } from "./assert.ts";

/** What `withCpu()` takes. */
export interface TestDeviceOptions {
  /** @default {1} */
  readonly threads?: number;
  /** @default {"auto"} */
  readonly instructionSet?: InstructionSet;
}

/** Runs on the CPU and fails if memory is left over. */
export async function withCpu<T>(
  run: (device: Device) => T | Promise<T>,
  options: TestDeviceOptions = {},
): Promise<T> {
  const { threads = 1, instructionSet = "auto" } = options;
  const tests = instructionSet === "scalar";
  using device = await openCpuDevice({ threads, instructionSet, tests });
  const result = await run(device);
  assertEquals(device.liveAllocations, 0, "all memory must be disposed of");
  return result;
}

/** The instruction sets of this machine that the library has code for. */
export async function machineSets(): Promise<InstructionSet[]> {
  const { instructionSets } = await describeCpu();
  const names = Object.keys(INSTRUCTION_SET_CODES) as InstructionSet[];
  return names.filter((name) => instructionSets.includes(name));
}

/** The GPUs of this machine. */
export const GPU_COUNT = countGpus();

/** Whether this machine has a GPU: the tests that need one are shown as ignored without. */
export const HAS_GPU = GPU_COUNT > 0;

/**
 * Looks for GPUs: there is none without the runtime's library, or if that finds none. All else that
 * goes wrong is a fault, which must not look like a machine without a GPU.
 *
 * Where there is one, its context and NVIDIA's libraries stay open until the tests end: a test opens
 * and closes a device, and would load hundreds of megabytes each time.
 */
function countGpus(): number {
  const path = succeeds(() => locateCudaLibrary(CUDART));
  if (path === undefined) return 0;
  const runtime = new CudaRuntime(path);
  const count = succeeds(() => runtime.deviceCount()) ?? 0;
  if (count === 0) {
    runtime[Symbol.dispose]();
    return 0;
  }
  runtime.setDevice(0);
  openLibrary(locateCudaLibrary(CUBLAS), {});
  return count;
}

/** The result, or undefined if a `DeviceError` is thrown. */
function succeeds<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof DeviceError) return undefined;
    throw error;
  }
}

/** A build of the attention kernels, opened. */
export interface GpuBuild {
  readonly build: "generic" | "hopper";
  readonly device: Device;
}

/** The environment variable that forces a build; the library reads it when a context is made. */
const BUILD_VARIABLE = "STARX_CUDA_KERNELS";
/** The architecture that both builds run on. */
const HOPPER = "sm_90";

/** Opens the GPU once for every build that runs on it. */
export async function openGpuBuilds(owner: DisposableStack): Promise<GpuBuild[]> {
  const builds: GpuBuild[] = [];
  for (const build of ["generic", "hopper"] as const) {
    if (build === "hopper" && builds[0]?.device.instructionSet !== HOPPER) break;
    builds.push({ build, device: owner.use(await openGpuBuild(build)) });
  }
  return builds;
}

async function openGpuBuild(build: GpuBuild["build"]): Promise<Device> {
  const before = Deno.env.get(BUILD_VARIABLE);
  Deno.env.set(BUILD_VARIABLE, build);
  try {
    return await openCudaDevice();
  } finally {
    if (before === undefined) Deno.env.delete(BUILD_VARIABLE);
    else Deno.env.set(BUILD_VARIABLE, before);
  }
}

/** Runs with every build for the GPU and fails if memory is left over. */
export async function withGpuBuilds(
  run: (device: Device, build: GpuBuild["build"]) => void | Promise<void>,
): Promise<void> {
  using owner = new DisposableStack();
  for (const { device, build } of await openGpuBuilds(owner)) {
    await run(device, build);
    assertEquals(device.liveAllocations, 0, "all memory must be disposed of");
  }
}
