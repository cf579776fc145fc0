/**
 * `kernels/prebuilt/MANIFEST.json`: which kernel libraries exist, and their digests.
 *
 * @module
 */
import { DeviceError, errorText } from "../errors.ts";

/** One library of the manifest. */
export interface LibraryEntry {
  /** Its name, beside the manifest. */
  readonly file: string;
  readonly backend: string;
  readonly os: string;
  readonly arch: string;
  /** Whether it has the scalar twins, for tests. */
  readonly tests: boolean;
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** The manifest. */
export interface Manifest {
  /** `SX_ABI_VERSION` of all its libraries. */
  readonly abi: number;
  /** Digest of the sources that they were built from. */
  readonly sourcesSha256: string;
  readonly libraries: readonly LibraryEntry[];
}

/** Which library is wanted; system and processor are by default this machine's. */
export interface LibraryChoice {
  readonly backend: "cpu" | "cuda";
  readonly tests: boolean;
  readonly os?: string;
  readonly arch?: string;
}

/** Neither a folder nor a hidden file: the name becomes part of a path. */
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * Reads a manifest's text.
 *
 * @param text JSON.
 * @param source Its path or address, for messages.
 * @throws {DeviceError} If it is no manifest.
 */
export function parseManifest(text: string, source: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DeviceError(`Cannot read the manifest ${source}: ${errorText(error)}`, {
      cause: error,
    });
  }
  const { abi, sources_sha256: sources, libraries } = asRecord(json);
  const complain = (key: string, value: unknown): never => {
    throw new DeviceError(
      `Cannot read the manifest ${source} as '${key}' is wrong: ` +
        `current value is ${JSON.stringify(value)}`,
    );
  };
  if (typeof abi !== "number") return complain("abi", abi);
  if (typeof sources !== "string") return complain("sources_sha256", sources);
  if (!Array.isArray(libraries)) return complain("libraries", libraries);
  const entries = libraries.map((library: unknown, i) => {
    const entry = asRecord(library);
    return isEntry(entry) ? entry : complain(`libraries[${i}]`, library);
  });
  return { abi, sourcesSha256: sources, libraries: entries };
}

function asRecord(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === "object" && json !== null ? json as Record<string, unknown> : {};
}

function isEntry(entry: object): entry is LibraryEntry {
  const { file, backend, os, arch, tests, bytes, sha256 } = entry as Record<string, unknown>;
  return typeof file === "string" && FILE_NAME.test(file) && typeof backend === "string" &&
    typeof os === "string" && typeof arch === "string" && typeof tests === "boolean" &&
    typeof bytes === "number" && typeof sha256 === "string" && SHA256.test(sha256);
}

/**
 * Finds the library for a machine.
 *
 * @param manifest Where to look. @param choice What is wanted.
 * @throws {DeviceError} If there is none; the message names those that exist.
 */
export function chooseLibrary(manifest: Manifest, choice: LibraryChoice): LibraryEntry {
  const { backend, tests, os = Deno.build.os, arch = Deno.build.arch } = choice;
  const entry = manifest.libraries.find((entry) =>
    entry.backend === backend && entry.tests === tests && entry.os === os && entry.arch === arch
  );
  if (entry === undefined) {
    const existing = manifest.libraries.map((entry) =>
      `${entry.backend} for ${entry.os} ${entry.arch}${entry.tests ? " (tests)" : ""}`
    );
    throw new DeviceError(
      `Cannot open a ${backend} library${tests ? " for tests" : ""} as there must be one for ` +
        `${os} ${arch}: current value is ${existing.join(", ") || "none"}`,
    );
  }
  return entry;
}

/**
 * Checks a library's bytes.
 *
 * @param bytes The whole file.
 * @param expected Its entry, and the path or address for messages.
 * @throws {DeviceError} If length or digest differ; the message has both.
 */
export async function verifyLibrary(
  bytes: Uint8Array<ArrayBuffer>,
  expected: { entry: LibraryEntry; source: string },
): Promise<void> {
  const { entry, source } = expected;
  if (bytes.byteLength !== entry.bytes) {
    throw new DeviceError(
      `Cannot open the library ${source} as it must have ${entry.bytes} bytes: ` +
        `current value is ${bytes.byteLength}`,
    );
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  if (digest !== entry.sha256) {
    throw new DeviceError(
      `Cannot open the library ${source} as its SHA-256 must be ${entry.sha256}: ` +
        `current value is ${digest}`,
    );
  }
}
