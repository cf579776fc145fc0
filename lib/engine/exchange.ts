/**
 * The exchange of ranks for the devices that they have.
 *
 * @module
 */
import { BorrowedCollective } from "../parallel/borrowed.ts";
import type { Collective } from "../parallel/collective.ts";
import { NcclCollective } from "../parallel/nccl.ts";
import { StagedCollective } from "../parallel/staged.ts";
import type { Device } from "../device/device.ts";
import { invariant } from "../errors.ts";
import { locateCudaLibrary, NCCL } from "../ffi/cuda_locate.ts";

/**
 * The exchange for a rank's devices: over NCCL between GPUs, a communicator for each, else as it is.
 * All ranks must call it at the same time, with as many devices, in the order of the layers.
 *
 * @param options `host`: exchanges host memory among the same ranks; disposed of with the result.
 * `hasOwnGpus`: whether every rank has GPUs of its own.
 * @throws {DeviceError} If NCCL cannot be opened.
 * @throws {WorkerError} If a rank is lost.
 */
export async function connectDevices(
  devices: readonly Device[],
  options: { host: Collective; hasOwnGpus: boolean; timeoutMs: number },
): Promise<Collective> {
  const { host, hasOwnGpus, timeoutMs } = options;
  const streams = devices.flatMap(({ stream }) => stream ?? []);
  const [first] = streams;
  // NCCL refuses two ranks on one GPU: they exchange by way of the host.
  if (host.size === 1 || !hasOwnGpus || first === undefined || streams.length < devices.length) {
    return host;
  }
  const path = locateCudaLibrary(NCCL);
  if (streams.length === 1) {
    return await NcclCollective.join({ host, stream: first, path, timeoutMs });
  }
  const members = new Map<Device, NcclCollective>();
  // One that fails leaves the others hanging in their streams.
  const onLost = (error: Error) => members.forEach((member) => member.abort(error.message));
  try {
    for (const [place, stream] of streams.entries()) {
      const device = devices[place];
      invariant(device !== undefined, "a stream is a device's");
      const member = { host: new BorrowedCollective(host), stream, path, timeoutMs };
      members.set(device, await NcclCollective.join({ ...member, onLost }));
    }
    return new StagedCollective(host, members);
  } catch (error) {
    members.forEach((member) => member.close());
    throw error;
  }
}

/**
 * What carries the tensors, for people.
 *
 * @param hostName What it is where NCCL is not.
 */
export function exchangeName(collective: Collective, hostName: string): string {
  if (collective.size === 1) return "none";
  return collective.carrier ?? hostName;
}
