/**
 * The least version of Deno: with an older one, what it lacks would look like a bug of this program.
 *
 * @module
 */
import { DeviceError } from "../../lib/errors.ts";

/** Since then files have locks that can be tried. */
const LEAST_DENO = [2, 7] as const;

/**
 * Refuses a Deno that is too old.
 *
 * @param version As `Deno.version.deno` tells it.
 * @throws {DeviceError} If it is.
 */
export function checkDenoVersion(version: string): void {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [leastMajor, leastMinor] = LEAST_DENO;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
  throw new DeviceError(
    `Cannot run as Deno must be ${leastMajor}.${leastMinor} or later: current value is ${version}`,
  );
}
