/**
 * Opens a library from the bytes that were verified: between a look at a file and the loader's own,
 * whoever can write its folder could put another one in its place.
 *
 * @module
 */
import { DeviceError, errorText } from "../errors.ts";
import { Libc } from "./libc.ts";
import type { ForeignLibrary } from "./library.ts";

/**
 * Opens a library from memory that has no name.
 *
 * @param bytes The verified library.
 * @param options `path` names it in messages; `open` gives a path to the loader.
 * @throws {DeviceError} If the loader refuses it.
 */
export function openVerified<T extends Deno.ForeignLibraryInterface>(
  bytes: Uint8Array<ArrayBuffer>,
  options: { path: string; open: (path: string) => ForeignLibrary<T> },
): ForeignLibrary<T> {
  const { path, open } = options;
  using libc = new Libc();
  const fd = libc.createFilledMemory("starx-kernels", bytes);
  try {
    return open(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const reason = errorText(error.cause ?? error).replaceAll(`/proc/self/fd/${fd}`, path);
    throw new DeviceError(`Cannot open the library ${path}: ${reason}`, { cause: error });
  } finally {
    libc.close(fd);
  }
}

/**
 * Checks that nobody else can put something into folders or files that this process trusts.
 *
 * @param paths Folders and files; those that are not there are passed over.
 * @throws {DeviceError} If one belongs to another user, or others may write it.
 */
export async function checkOwned(paths: readonly string[]): Promise<void> {
  const user = await Deno.stat("/proc/self").then(({ uid }) => uid, () => null);
  for (const path of paths) {
    const info = await Deno.lstat(path).catch(() => undefined);
    if (info === undefined) continue;
    const { mode, uid, isSymlink } = info;
    const others = mode === null || isSymlink ? 0 : mode & 0o022;
    if (others === 0 && (user === null || uid === user)) continue;
    const fault = others === 0 ? `it belongs to user ${uid}` : "others can write it";
    throw new DeviceError(
      `Cannot use ${path} as only its owner, who must be this process's user ${user}, may write ` +
        `it: ${fault}`,
    );
  }
}
