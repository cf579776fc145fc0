/**
 * The exchange of ranks for the devices that they have.
 *
 * @module
 */
import type { Collective } from "../collective/collective.ts";
import { isGpuDevice, NcclCollective } from "../collective/nccl.ts";
import type { Device } from "../device/device.ts";
import { locateCudaLibrary, NCCL } from "../ffi/cuda_locate.ts";

/**
 * The exchange for a device: over NCCL between GPUs, else as it is. All ranks must call it at the
 * same time.
 *
 * @param options `host`: exchanges host memory among the same ranks; disposed of with the result.
 * `hasOwnGpu`: whether every rank has a GPU of its own.
 * @throws {DeviceError} If NCCL cannot be opened.
 * @throws {WorkerError} If a rank is lost.
 */
export async function connectDevices(
  device: Device,
  options: { host: Collective; hasOwnGpu: boolean; timeoutMs: number },
): Promise<Collective> {
  const { host, hasOwnGpu, timeoutMs } = options;
  // NCCL refuses two ranks on one GPU: they exchange by way of the host.
  if (host.size === 1 || !hasOwnGpu || !isGpuDevice(device)) return host;
  const path = locateCudaLibrary(NCCL);
  return await NcclCollective.join({ host, device: device.gpu, path, timeoutMs });
}

/**
 * What carries the tensors, for people.
 *
 * @param hostName What it is where NCCL is not.
 */
export function exchangeName(collective: Collective, hostName: string): string {
  if (collective.size === 1) return "none";
  if (!(collective instanceof NcclCollective)) return hostName;
  const { version } = collective;
  return `NCCL ${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
}
