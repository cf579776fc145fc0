/**
 * Whether this process may open as many files as any command needs.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";
import { Libc } from "../../lib/ffi/libc.ts";
import { openFilesLimit } from "../../lib/ffi/processes.ts";

/** Deno's own, a tokenizer's thread, the libraries, the weights and the results; each rank adds 5. */
const NEEDED = 40;

/**
 * Checks the limit before a thread or a process is started: with too few, Deno ends in the midst of
 * that, without a word of what is missing. It is not checked where this program may not look.
 *
 * @throws {DeviceError} If there are too few.
 */
export function checkOpenFiles(): void {
  const { state } = Deno.permissions.querySync({ name: "ffi" });
  if (Deno.build.os !== "linux" || state !== "granted") return;
  using libc = new Libc();
  const limit = openFilesLimit(libc) ?? Infinity;
  if (limit >= NEEDED) return;
  throw new DeviceError(
    `Cannot run as a process must be allowed at least ${NEEDED} open files: current value is ` +
      `${limit} ('ulimit -n 1024' allows more)`,
  );
}
