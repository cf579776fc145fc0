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
  /** Digest of the sources that it was built from. */
  readonly sourcesSha256: string;
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** The manifest. */
export interface Manifest {
  /** `SX_ABI_VERSION` of all its libraries. */
  readonly abi: number;
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
  const { abi, libraries } = asRecord(json);
  const complain = (key: string, value: unknown): never => {
    throw new DeviceError(
      `Cannot read the manifest ${source} as '${key}' is wrong: ` +
        `current value is ${JSON.stringify(value)}`,
    );
  };
  if (typeof abi !== "number") return complain("abi", abi);
  if (!Array.isArray(libraries)) return complain("libraries", libraries);
  const entries = libraries.map((library: unknown, i) =>
    parseEntry(asRecord(library)) ?? complain(`libraries[${i}]`, library)
  );
  return { abi, libraries: entries };
}

function asRecord(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === "object" && json !== null ? json as Record<string, unknown> : {};
}

/** An entry, or undefined if a field is missing or wrong. */
function parseEntry(json: Readonly<Record<string, unknown>>): LibraryEntry | undefined {
  const { file, backend, os, arch, tests, bytes, sha256, sources_sha256: sourcesSha256 } = json;
  const isWhole = typeof file === "string" && FILE_NAME.test(file) &&
    typeof backend === "string" && typeof os === "string" && typeof arch === "string" &&
    typeof tests === "boolean" && typeof bytes === "number" && typeof sha256 === "string" &&
    SHA256.test(sha256) && typeof sourcesSha256 === "string" && SHA256.test(sourcesSha256);
  return isWhole ? { file, backend, os, arch, tests, bytes, sha256, sourcesSha256 } : undefined;
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
