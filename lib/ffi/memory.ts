/**
 * Memory outside of JavaScript's heap: addresses, mapped files, memory shared between processes.
 *
 * Views are detached on disposal, so that a late access throws and never reads unmapped pages.
 *
 * @module
 */
import { errorText, FileError, invariant } from "../errors.ts";
import { type Access, Libc } from "./libc.ts";

/** A view whose bytes C can be given. */
export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * The bytes at an address, without a copy.
 *
 * @param address Not 0; must stay mapped while the view is used.
 * @param byteLength How many bytes.
 */
export function bytesAt(address: bigint, byteLength: number): Bytes {
  const pointer = Deno.UnsafePointer.create(address);
  invariant(pointer !== null, "a view needs an address other than 0");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength));
}

/**
 * The address of a view's first byte.
 *
 * @param view Must be kept referenced, and neither transferred nor resized, while C uses it.
 */
export function addressOf(view: ArrayBufferView<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
}

/** A mapping of a file's first bytes into this process, or of memory without a file. */
class Mapping implements Disposable {
  readonly #libc: Libc;
  readonly #name: string;
  readonly #address: bigint;
  readonly #view: Bytes;
  #disposed = false;
  /** The mapped length. */
  readonly byteLength: number;

  /** @param libc Owned from here on, also when the constructor throws. */
  constructor(
    libc: Libc,
    options: { fd: number | undefined; byteLength: number; access: Access; name: string },
  ) {
    this.#libc = libc;
    this.#name = options.name;
    this.byteLength = options.byteLength;
    const { fd, byteLength } = options;
    this.#address = fd === undefined ? libc.mapMemory(byteLength) : libc.map(fd, options);
    if (options.access === "read") libc.adviseHugePages(this.#address, this.byteLength);
    this.#view = bytesAt(this.#address, this.byteLength);
  }

  /**
   * The address of the first byte, page aligned.
   *
   * @throws {TypeError} After disposal.
   */
  get pointer(): bigint {
    this.#check();
    return this.#address;
  }

  /**
   * All bytes; detached on disposal. Writing into a read-only mapping ends the process.
   *
   * @throws {TypeError} After disposal.
   */
  get bytes(): Bytes {
    this.#check();
    return this.#view;
  }

  /** Unmaps; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#view.buffer.transfer();
    this.#libc.unmap(this.#address, this.byteLength);
    this.#libc[Symbol.dispose]();
  }

  #check(): void {
    if (this.#disposed) throw new TypeError(`Cannot read ${this.#name} as it is unmapped`);
  }
}

/** A whole file, mapped read-only; processes that map the same file share its memory. */
export type MappedFile = Mapping;

/** Memory that several processes read and write. */
export type SharedMemory = Mapping;

/**
 * Maps a whole file for reading.
 *
 * @param path The file; it must not shrink while it is mapped.
 * @throws {FileError} If it is missing, empty, a folder or not readable.
 */
export function mapFile(path: string): MappedFile {
  checkRegularFile(path);
  const libc = new Libc();
  try {
    const fd = libc.open(path, "read");
    try {
      const byteLength = libc.fileLength(fd);
      if (byteLength === 0) throw new FileError(`Cannot map ${path} as it is empty`);
      return new Mapping(libc, { fd, byteLength, access: "read", name: path });
    } finally {
      libc.close(fd);
    }
  } catch (error) {
    libc[Symbol.dispose]();
    if (error instanceof FileError) throw error;
    throw new FileError(`Cannot map ${path}: ${errorText(error)}`, { cause: error });
  }
}

/**
 * Reads a file into memory of this process, page aligned as a mapping is, and in huge pages where the
 * system gives them: what becomes of the file later changes nothing.
 *
 * @param path A regular file with at least one byte.
 * @throws {FileError} If it cannot be read.
 * @throws {DeviceError} If there is not enough memory.
 */
export function copyFile(path: string): MappedFile {
  checkRegularFile(path);
  using file = Deno.openSync(path, { read: true });
  const { size: byteLength } = file.statSync();
  if (byteLength === 0) throw new FileError(`Cannot read ${path} as it is empty`);
  const libc = new Libc();
  try {
    const memory = new Mapping(libc, {
      fd: undefined,
      byteLength,
      access: "readWrite",
      name: path,
    });
    for (let at = 0; at < byteLength;) {
      const count = file.readSync(memory.bytes.subarray(at));
      if (count === null) {
        memory[Symbol.dispose]();
        throw new FileError(`Cannot read ${path}: it became shorter while it was read`);
      }
      at += count;
    }
    return memory;
  } catch (error) {
    libc[Symbol.dispose]();
    throw error;
  }
}

/** A folder or a device can be opened, and would fail later with a puzzling error. */
function checkRegularFile(path: string): void {
  let info: Deno.FileInfo;
  try {
    info = Deno.statSync(path);
  } catch (error) {
    throw new FileError(`Cannot map ${path}: ${errorText(error)}`, { cause: error });
  }
  if (!info.isFile) throw new FileError(`Cannot map ${path} as it is not a regular file`);
}

/** Shared memory and the path under which other processes of this user find it. */
export interface CreatedMemory {
  readonly memory: SharedMemory;
  /** `/proc/<pid>/fd/<n>`: valid until `release()` or the end of this process. */
  readonly path: string;
  /** Gives the path up, once everyone has opened it; the memory stays mapped. */
  release(): void;
}

/**
 * Creates zeroed memory for this process and its children; no name is left behind by anyone.
 *
 * @param label Shown in `/proc/<pid>/fd`.
 * @param byteLength Its length.
 * @throws {DeviceError} If there is not enough memory.
 */
export function createSharedMemory(label: string, byteLength: number): CreatedMemory {
  const libc = new Libc();
  let fd = -1;
  try {
    fd = libc.createMemory(label, byteLength);
    const memory = new Mapping(libc, { fd, byteLength, access: "readWrite", name: label });
    const path = `/proc/${Deno.pid}/fd/${fd}`;
    return { memory, path, release: descriptorCloser(fd) };
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    libc[Symbol.dispose]();
    throw error;
  }
}

/** Closes a descriptor once; it has its own library, as the memory may be disposed earlier. */
function descriptorCloser(fd: number): () => void {
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    using libc = new Libc();
    libc.close(fd);
  };
}

/**
 * Maps memory that another process created.
 *
 * @param path As `createSharedMemory()` gave it.
 * @param byteLength The length it must have at least.
 * @throws {FileError} If it is gone, for example with the process that created it, or shorter.
 */
export function openSharedMemory(path: string, byteLength: number): SharedMemory {
  const libc = new Libc();
  try {
    const fd = libc.open(path, "readWrite");
    try {
      const found = libc.fileLength(fd);
      if (found < byteLength) {
        throw new FileError(
          `Cannot map ${path} as it must have at least ${byteLength} bytes: ` +
            `current value is ${found}`,
        );
      }
      return new Mapping(libc, { fd, byteLength, access: "readWrite", name: path });
    } finally {
      libc.close(fd);
    }
  } catch (error) {
    libc[Symbol.dispose]();
    throw error;
  }
}
