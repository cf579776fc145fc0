/**
 * What this machine has of CUDA, piece by piece, for people who look for what is missing.
 *
 * @module
 */
import { errorText } from "../errors.ts";
import { CUBLAS, findDriver, locateCudaLibrary } from "../ffi/cuda_locate.ts";
import { CudaRuntime } from "../ffi/cudart.ts";
import { openKernelLibrary } from "../ffi/locate.ts";
import { capabilityText } from "./cuda.ts";

/** A GPU. */
export interface GpuDescription {
  readonly ordinal: number;
  readonly name: string;
  /** For example `9.0`. */
  readonly capability: string;
  readonly multiprocessors: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** A library: where it lies, or why it cannot be used. */
export type LibraryFinding = { readonly path: string } | { readonly problem: string };

/** What there is. */
export interface CudaDescription {
  /** The driver's library; undefined without a driver. */
  readonly driverPath: string | undefined;
  readonly runtime: LibraryFinding;
  readonly blas: LibraryFinding;
  readonly kernels: LibraryFinding;
  /** For example `13.0`; undefined without the runtime. */
  readonly runtimeVersion: string | undefined;
  /** The newest CUDA that the driver knows; undefined without a driver. */
  readonly driverVersion: string | undefined;
  readonly gpus: readonly GpuDescription[];
  /** Why there is no GPU to be seen; undefined if there is one. */
  readonly problem: string | undefined;
}

/** Looks at everything; nothing that is missing is an error. */
export async function describeCuda(): Promise<CudaDescription> {
  const blas = find(() => locateCudaLibrary(CUBLAS));
  const driverPath = findDriver();
  const kernels = await findKernels();
  const none = { runtimeVersion: undefined, driverVersion: undefined, gpus: [] };
  try {
    using runtime = new CudaRuntime();
    const found = { driverPath, blas, kernels, runtime: { path: runtime.path } };
    const versions = runtime.versions();
    const known = {
      ...found,
      runtimeVersion: versionText(versions.runtime),
      driverVersion: versions.driver === 0 ? undefined : versionText(versions.driver),
    };
    try {
      const count = runtime.deviceCount();
      const gpus = Array.from({ length: count }, (_, ordinal) => describeGpu(runtime, ordinal));
      return { ...known, gpus, problem: undefined };
    } catch (error) {
      return { ...known, gpus: [], problem: errorText(error) };
    }
  } catch (error) {
    const problem = errorText(error);
    return { ...none, driverPath, blas, kernels, runtime: { problem }, problem };
  }
}

function describeGpu(runtime: CudaRuntime, ordinal: number): GpuDescription {
  runtime.setDevice(ordinal);
  const { name, capability, multiprocessors } = runtime.properties(ordinal);
  const { free: freeBytes, total: totalBytes } = runtime.memory();
  const text = capabilityText(capability);
  return { ordinal, name, capability: text, multiprocessors, freeBytes, totalBytes };
}

function find(locate: () => string): LibraryFinding {
  try {
    return { path: locate() };
  } catch (error) {
    return { problem: errorText(error) };
  }
}

async function findKernels(): Promise<LibraryFinding> {
  try {
    const library = await openKernelLibrary({ backend: "cuda", tests: false });
    library.close();
    return { path: library.path };
  } catch (error) {
    return { problem: errorText(error) };
  }
}

function versionText(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor(version % 1000 / 10)}`;
}
