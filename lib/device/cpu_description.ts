/**
 * What the CPU library says of itself and of this machine.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { type KernelLibrary, openKernelLibrary } from "../ffi/locate.ts";
import { checkStatus } from "../ffi/status.ts";

/** The library and what this machine can run of it. */
export interface CpuDescription {
  /** Where the library lies. */
  readonly libraryPath: string;
  readonly abiVersion: number;
  /** The library's instruction sets that this machine has. */
  readonly instructionSets: readonly string[];
  /** What `auto` takes; empty if the machine has none. */
  readonly best: string;
  /** What may multiply few rows faster than `best`, to be found out by measuring. */
  readonly rows: readonly string[];
  /** Whether the library has the scalar twins. */
  readonly scalar: boolean;
}

/** Longer than any description. */
const DESCRIPTION_BYTES = 4096;

/**
 * Opens the CPU library, asks it, closes it.
 *
 * @throws {DeviceError} If the library is missing or damaged.
 */
export async function describeCpu(options: { tests?: boolean } = {}): Promise<CpuDescription> {
  const library = await openKernelLibrary({ backend: "cpu", tests: options.tests ?? false });
  try {
    return describeLibrary(library);
  } finally {
    library.close();
  }
}

/** Asks an opened library. @throws {DeviceError} If its answer is not understood. */
export function describeLibrary(library: KernelLibrary): CpuDescription {
  const out = new Uint8Array(DESCRIPTION_BYTES);
  checkStatus(library.functions.sx_describe(out, BigInt(out.length)), {
    op: "sx_describe",
    shapes: () => `${out.length} bytes`,
    errorText: () => "",
  });
  const text = new TextDecoder().decode(out.subarray(0, Math.max(out.indexOf(0), 0)));
  const found = JSON.parse(text) as Readonly<Record<string, unknown>>;
  const { isa, best, rows, scalar } = found;
  const isNames = (names: unknown): names is string[] =>
    Array.isArray(names) && names.every((name) => typeof name === "string");
  const valid = isNames(isa) && isNames(rows) && typeof best === "string" &&
    typeof scalar === "boolean";
  if (!valid) {
    throw new DeviceError(`Cannot use the library ${library.path} as it described itself: ${text}`);
  }
  const { path: libraryPath, abiVersion } = library;
  return { libraryPath, abiVersion, instructionSets: isa, best, rows, scalar };
}
