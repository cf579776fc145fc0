/**
 * The one place that opens a foreign library.
 *
 * @module
 */
import { DeviceError, errorText } from "../errors.ts";

/** An opened foreign library with the functions of its table. */
export type ForeignLibrary<T extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<T>;

/** Where the dynamic loader's own function is: in glibc since 2.34, before that beside it. */
const LOADERS = ["libc.so.6", "libdl.so.2"];
const LOADER_SYMBOLS = {
  // void* dlopen(const char* file, int mode)
  dlopen: { parameters: ["buffer", "i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;
/** `RTLD_NOW | RTLD_NODELETE`. */
const NOW_AND_FOR_EVER = 0x1002;

/**
 * As `openLibrary()`, for a library whose code stays in memory when it is closed. NVIDIA's keep state and
 * threads of the driver that nobody can end before the process does; a CPU's kernels have threads that
 * wait in their code, where a program ends without disposing of its device: Deno unloads libraries first.
 *
 * @throws {DeviceError} As `openLibrary()`.
 */
export function openResidentLibrary<const T extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: T,
): ForeignLibrary<T> {
  const library = openLibrary(path, symbols);
  const name = new TextEncoder().encode(`${path}\0`);
  for (const loader of LOADERS) {
    let opened: ForeignLibrary<typeof LOADER_SYMBOLS>;
    try {
      opened = openLibrary(loader, LOADER_SYMBOLS);
    } catch (error) {
      // The other one has it; a system with neither unloads the library, as it would by itself.
      if (error instanceof DeviceError) continue;
      throw error;
    }
    opened.symbols.dlopen(name, NOW_AND_FOR_EVER);
    opened.close();
    break;
  }
  return library;
}

/**
 * Opens a shared library.
 *
 * @param path A file, or a name that the dynamic loader resolves (`libc.so.6`).
 * @param symbols The functions to bind.
 * @returns The opened library; its owner closes it.
 * @throws {DeviceError} If it cannot be opened or lacks a symbol; `cause` has the loader's words.
 */
export function openLibrary<const T extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: T,
): ForeignLibrary<T> {
  try {
    return Deno.dlopen(path, symbols);
  } catch (error) {
    throw new DeviceError(`Cannot open the library ${path}: ${errorText(error)}`, { cause: error });
  }
}
