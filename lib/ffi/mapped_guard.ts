/**
 * Guards mapped files by the CPU library's handler of SIGBUS (`kernels/cpu/mapped_files.h`): when a
 * file becomes shorter than its mapping, the process ends with a line that names the file and the
 * exit code of a file that cannot be used, and not without a word.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import { type ForeignLibrary, openLibrary, openResidentLibrary } from "./library.ts";
import { openBackendLibrary } from "./locate.ts";

/** Each parameter is commented with its C declaration. Earlier libraries have none of them. */
export const GUARD_SYMBOLS = {
  // int32_t sx_guard_mapping(const void* address, uint64_t bytes, const char* path)
  sx_guard_mapping: { parameters: ["u64", "u64", "buffer"], result: "i32", optional: true },
  // int32_t sx_release_mapping(const void* address)
  sx_release_mapping: { parameters: ["u64"], result: "i32", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** The guard of some mappings; disposal ends it, and must come before or right after they end. */
export class MappedGuard implements Disposable {
  readonly #library: ForeignLibrary<typeof GUARD_SYMBOLS> | undefined;
  readonly #addresses: bigint[] = [];
  #disposed = false;

  private constructor(library: ForeignLibrary<typeof GUARD_SYMBOLS> | undefined) {
    this.#library = library;
  }

  /** Opens it; where there is no CPU library for this machine, it guards nothing. */
  static async open(): Promise<MappedGuard> {
    try {
      return new MappedGuard(
        await openBackendLibrary({ backend: "cpu", tests: false }, {
          symbols: GUARD_SYMBOLS,
          open: openLibrary,
          // Each copy in memory is a library of its own, whose handler another one may go on to call.
          openCopy: openResidentLibrary,
        }),
      );
    } catch (error) {
      if (error instanceof DeviceError) return new MappedGuard(undefined);
      throw error;
    }
  }

  /** Guards a mapping from now on. */
  add(mapping: { address: bigint; byteLength: number; path: string }): void {
    const { address, byteLength, path } = mapping;
    const name = new TextEncoder().encode(`${path}\0`);
    const status = this.#library?.symbols.sx_guard_mapping?.(address, BigInt(byteLength), name);
    if (status === 0) this.#addresses.push(address);
  }

  /** Ends the guard; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const address of this.#addresses) this.#library?.symbols.sx_release_mapping?.(address);
    this.#library?.close();
  }
}
