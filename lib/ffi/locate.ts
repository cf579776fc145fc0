/**
 * Finds, verifies and opens the kernel library.
 *
 * Nothing is given to the dynamic loader before its digest is checked: a truncated library would
 * end the process with a signal. Run from http(s), the library is fetched from beside this module
 * and kept in the user's cache folder under its digest; the manifest is a module like the others, so
 * that Deno keeps it, and what has run once needs no network.
 *
 * @module
 */
import ownManifest from "../../kernels/prebuilt/MANIFEST.json" with { type: "json" };
import { cacheFolder } from "../cache_folder.ts";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { readBody } from "../bounded_body.ts";
import { environmentVariable, mayReadVariable } from "../environment.ts";
import { DeviceError, errorText } from "../errors.ts";
import { type ForeignLibrary, openResidentLibrary } from "./library.ts";
import {
  chooseLibrary,
  type LibraryEntry,
  type Manifest,
  parseManifest,
  verifyLibrary,
} from "./manifest.ts";
import { KERNEL_SYMBOLS } from "./nonblocking.ts";
import { ABI_VERSION } from "./symbols.ts";
import { checkOwned, openVerified } from "./verified_library.ts";

/** An opened kernel library. */
export interface KernelLibrary {
  readonly path: string;
  readonly abiVersion: number;
  readonly functions: ForeignLibrary<typeof KERNEL_SYMBOLS>["symbols"];
  /** Unloads it; no function may be under way. */
  close(): void;
}

/** What `openKernelLibrary()` takes. */
export interface KernelLibraryOptions {
  readonly backend: "cpu" | "cuda";
  /** Whether to take the tests' library, of the scalar twins. */
  readonly tests: boolean;
  /**
   * The folder's URL, with a slash at its end.
   * @default {URL} The folder that the environment variable STARX_KERNELS names, or else
   * `kernels/prebuilt` of this repository or web site.
   */
  readonly folder?: URL;
}

/** Beside the sources. */
const OWN_FOLDER = new URL("../../kernels/prebuilt/", import.meta.url);
/** It has some 300 bytes for each library. */
const MAX_MANIFEST_BYTES = 2 ** 20;
/** How long the manifest or the library may take to arrive. */
const FETCH_TIMEOUT_MS = 60_000;
/** Longer than a fetch can take: an older temporary file is nobody's. */
const STALE_MS = 3_600_000;

/**
 * Opens the kernel library of a backend for this machine.
 *
 * @throws {DeviceError} If there is none for this machine, or if it is missing, damaged, of another
 * version, or cannot be loaded; the message names path, expected and found value.
 */
export async function openKernelLibrary(options: KernelLibraryOptions): Promise<KernelLibrary> {
  let path = "";
  const open = (named: string) => openResidentLibrary(named, KERNEL_SYMBOLS);
  const library = await openBackendLibrary(options, {
    symbols: KERNEL_SYMBOLS,
    open,
    openCopy: open,
    onPath: (found) => path = found,
  });
  const abiVersion = library.symbols.sx_abi_version();
  if (abiVersion !== ABI_VERSION) {
    library.close();
    throw abiError(path, abiVersion);
  }
  return { path, abiVersion, functions: library.symbols, close: () => library.close() };
}

/**
 * Opens the verified library of a backend with functions of one's own.
 *
 * @param ways `open` gives a file to the loader, `openCopy` a copy of it in memory, where it is from
 * the network; `onPath` is told what the library is called.
 * @throws {DeviceError} If there is none for this machine, or it is missing, damaged, or cannot be
 * loaded.
 */
export async function openBackendLibrary<const T extends Deno.ForeignLibraryInterface>(
  options: KernelLibraryOptions,
  ways: {
    symbols: T;
    open: (path: string, symbols: T) => ForeignLibrary<T>;
    openCopy: (path: string, symbols: T) => ForeignLibrary<T>;
    onPath?: (path: string) => void;
  },
): Promise<ForeignLibrary<T>> {
  const { symbols, open, openCopy, onPath } = ways;
  const folder = options.folder ?? kernelFolder();
  const manifest = await readManifest(new URL("MANIFEST.json", folder));
  const entry = chooseLibrary(manifest, options);
  const url = new URL(entry.file, folder);
  if (url.protocol === "file:") {
    const path = await verifiedFile(url, entry);
    onPath?.(path);
    return open(path, symbols);
  }
  const { path, bytes } = await cachedFile(url, entry);
  onPath?.(path);
  if (Deno.build.os !== "linux") return open(path, symbols);
  return openVerified(bytes, { path, open: (copy) => openCopy(copy, symbols) });
}

/**
 * The digest of the library that `openKernelLibrary()` opens, as its manifest states it.
 *
 * @returns 64 hexadecimal digits.
 * @throws {DeviceError} If there is none for this machine.
 */
export async function kernelDigest(backend: "cpu" | "cuda"): Promise<string> {
  const manifest = await readManifest(new URL("MANIFEST.json", kernelFolder()));
  return chooseLibrary(manifest, { backend, tests: false }).sha256;
}

/** The folder of the libraries: the environment's choice, or the one beside the sources. */
export function kernelFolder(): URL {
  const named = environmentVariable("STARX_KERNELS");
  if (named === undefined || named === "") {
    return OWN_FOLDER;
  }
  return pathToFileURL(`${resolve(named)}/`);
}

/** Reads and checks the manifest. @throws {DeviceError} If it is missing or of another version. */
export async function readManifest(url: URL): Promise<Manifest> {
  const source = displayName(url);
  const isOwn = url.protocol !== "file:" && url.href === new URL("MANIFEST.json", OWN_FOLDER).href;
  const text = isOwn
    ? JSON.stringify(ownManifest)
    : new TextDecoder().decode(await readBytes(url, MAX_MANIFEST_BYTES));
  const manifest = parseManifest(text, source);
  if (manifest.abi !== ABI_VERSION) throw abiError(source, manifest.abi);
  return manifest;
}

async function verifiedFile(url: URL, entry: LibraryEntry): Promise<string> {
  const path = displayName(url);
  await verifyLibrary(await readBytes(url, entry.bytes), { entry, source: path });
  return path;
}

/** The path of the library in the user's cache, fetched if it is not there or damaged. */
async function cachedFile(
  url: URL,
  entry: LibraryEntry,
): Promise<{ path: string; bytes: Uint8Array<ArrayBuffer> }> {
  const cache = cacheFolder();
  if (cache === undefined) {
    const missing = mayReadVariable("HOME") ? "not set" : "not readable without --allow-env";
    throw new DeviceError(
      "Cannot keep the library as the environment must name a folder: XDG_CACHE_HOME and HOME " +
        `are ${missing}`,
    );
  }
  const folder = `${cache}/kernels/${entry.sha256}`;
  const path = `${folder}/${entry.file}`;
  await checkOwned([cache, `${cache}/kernels`, folder, path]);
  const kept = await intactBytes(path, entry);
  if (kept !== undefined) return { path, bytes: kept };
  const bytes = await readBytes(url, entry.bytes);
  await verifyLibrary(bytes, { entry, source: displayName(url) });
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.mkdir(folder, { recursive: true, mode: 0o755 });
    await removeStale(folder);
    await Deno.writeFile(temporary, bytes, { createNew: true, mode: 0o644 });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {
      // It may never have been created; the first error says more.
    });
    throw new DeviceError(`Cannot keep the library in ${folder}: ${errorText(error)}`, {
      cause: error,
    });
  }
  return { path, bytes };
}

/** Removes what processes left that were killed between write and rename. */
async function removeStale(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.endsWith(".tmp")) continue;
    const { mtime } = await Deno.stat(`${folder}/${name}`).catch(() => ({ mtime: null }));
    if (mtime !== null && Date.now() - mtime.getTime() > STALE_MS) {
      await Deno.remove(`${folder}/${name}`).catch(() => {
        // Another process was faster.
      });
    }
  }
}

/** A cached library, if it is there and is the right one. */
async function intactBytes(
  path: string,
  entry: LibraryEntry,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const { size } = await Deno.stat(path);
    if (size !== entry.bytes) return undefined;
    const bytes = await Deno.readFile(path);
    await verifyLibrary(bytes, { entry, source: path });
    return bytes;
  } catch (error) {
    if (error instanceof DeviceError || error instanceof Deno.errors.NotFound) return undefined;
    throw new DeviceError(`Cannot read the library ${path}: ${errorText(error)}`, { cause: error });
  }
}

async function readBytes(url: URL, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const source = displayName(url);
  try {
    if (url.protocol === "file:") return await Deno.readFile(url);
    const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    if (!response.ok) {
      await response.body?.cancel();
      throw new DeviceError(`the server answered ${response.status}`);
    }
    return await readBody(response, { maxBytes, label: source });
  } catch (error) {
    throw new DeviceError(`Cannot read ${source}: ${errorText(error)}`, { cause: error });
  }
}

/** A path where there is one. */
function displayName(url: URL): string {
  return url.protocol === "file:" ? fileURLToPath(url) : url.href;
}

function abiError(source: string, found: number): DeviceError {
  return new DeviceError(
    `Cannot use ${source} as its interface version must be ${ABI_VERSION}: ` +
      `current value is ${found}`,
  );
}
