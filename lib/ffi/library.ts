/**
 * The one place that opens a foreign library.
 *
 * @module
 */
import { DeviceError, errorText } from "../errors.ts";

/** An opened foreign library with the functions of its table. */
export type ForeignLibrary<T extends Deno.ForeignLibraryInterface> = Deno.DynamicLibrary<T>;

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
