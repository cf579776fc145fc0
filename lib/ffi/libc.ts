/**
 * The calls of the C library that files, shared memory and child processes need (Linux, glibc).
 *
 * Signatures follow the Linux manual pages, sections 2 and 3.
 *
 * @module
 */
import { DeviceError, FileError } from "../errors.ts";
import { type ForeignLibrary, openLibrary } from "./library.ts";

/** Each parameter is commented with its C declaration. */
const SYMBOLS = {
  // int *__errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
  // int open(const char *path, int flags, mode_t mode)
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  // DIR *opendir(const char *name)
  opendir: { parameters: ["buffer"], result: "pointer" },
  // struct dirent *readdir(DIR *dirp)
  readdir: { parameters: ["pointer"], result: "pointer" },
  // int closedir(DIR *dirp)
  closedir: { parameters: ["pointer"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t count)
  read: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // off_t lseek(int fd, off_t offset, int whence)
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  // int ftruncate(int fd, off_t length)
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  // int memfd_create(const char *name, unsigned int flags)
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t count)
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { parameters: ["u64", "usize", "i32", "i32", "i32", "i64"], result: "u64" },
  // int madvise(void *addr, size_t length, int advice)
  madvise: { parameters: ["u64", "usize", "i32"], result: "i32" },
  // int munmap(void *addr, size_t length)
  munmap: { parameters: ["u64", "usize"], result: "i32" },
  // int prctl(int option, unsigned long arg2)
  prctl: { parameters: ["i32", "u64"], result: "i32" },
  // int prctl(PR_SET_NAME, const char *name)
  prctlName: { name: "prctl", parameters: ["i32", "buffer"], result: "i32" },
  // pid_t getppid(void)
  getppid: { parameters: [], result: "i32" },
  // int kill(pid_t pid, int sig)
  kill: { parameters: ["i32", "i32"], result: "i32" },
  // int getrusage(int who, struct rusage *usage)
  getrusage: { parameters: ["i32", "buffer"], result: "i32" },
  // int sched_yield(void)
  sched_yield: { parameters: [], result: "i32" },
  // long syscall(SYS_futex, uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
  futex: {
    name: "syscall",
    parameters: ["i64", "u64", "i32", "u32", "buffer"],
    result: "i64",
  },
  futexNonblocking: {
    name: "syscall",
    parameters: ["i64", "u64", "i32", "u32", "buffer"],
    result: "i64",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

const SYS_FUTEX = { x86_64: 202n, aarch64: 98n } as const;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const FUTEX_WAKE_ALL = 0x7fffffff;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const O_CLOEXEC = 0o2000000;
const MFD_CLOEXEC = 1;
const SEEK_END = 2;
/** `struct dirent`'s `d_name`, behind inode, offset, length and type. */
const DIRENT_NAME = 19;
const PR_SET_PDEATHSIG = 1;
const PR_SET_NAME = 15;
const SIGKILL = 9;
const RUSAGE_SELF = 0;
/** `struct rusage`: two times of two words, then counts; the first is `ru_maxrss` in KiB. */
const RUSAGE_WORDS = 18;
const RUSAGE_MAXRSS = 4;

/** `madvise`'s advice. */
const MADV_HUGEPAGE = 14;
/** `mmap`'s `prot`. */
const PROTECTION = { read: 1, readWrite: 3 } as const;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
/** `open`'s access modes. */
const ACCESS = { read: 0, readWrite: 2 } as const;

/** errno(3), the codes that these calls can set; the numbers agree on x86-64 and aarch64. */
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  3: "ESRCH",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  17: "EEXIST",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  26: "ETXTBSY",
  27: "EFBIG",
  28: "ENOSPC",
  36: "ENAMETOOLONG",
  38: "ENOSYS",
  40: "ELOOP",
  75: "EOVERFLOW",
  110: "ETIMEDOUT",
};

/** How `open` and `mmap` may touch a file. */
export type Access = "read" | "readWrite";

/** The C library, opened by and for one owner. */
export class Libc implements Disposable {
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  readonly #futexNumber: bigint;
  #open = true;

  /** @throws {DeviceError} If this is no Linux with glibc. */
  constructor() {
    if (Deno.build.os !== "linux") {
      throw new DeviceError(
        `Cannot use the C library as the system must be linux: current value is ${Deno.build.os}`,
      );
    }
    this.#library = openLibrary("libc.so.6", SYMBOLS);
    this.#futexNumber = SYS_FUTEX[Deno.build.arch];
  }

  /**
   * Opens an existing file; children that are executed later do not inherit it.
   *
   * @returns Its file descriptor.
   * @throws {FileError} If it cannot be opened.
   */
  open(path: string, access: Access): number {
    const fd = this.#symbols.open(cString(path), ACCESS[access] | O_CLOEXEC, 0);
    if (fd < 0) throw new FileError(`Cannot open ${path}: ${this.#errnoName()}`);
    return fd;
  }

  /**
   * The beginning of a file of the kernel's, which Deno reads only with all permissions.
   *
   * @param path Below `/proc` or `/sys`.
   * @returns At most 64 KiB as text; undefined if it cannot be read.
   */
  readText(path: string): string | undefined {
    const fd = this.#symbols.open(cString(path), ACCESS.read | O_CLOEXEC, 0);
    if (fd < 0) return undefined;
    const bytes = new Uint8Array(1 << 16);
    const count = Number(this.#symbols.read(fd, bytes, BigInt(bytes.length)));
    this.close(fd);
    return count < 0 ? undefined : new TextDecoder().decode(bytes.subarray(0, count));
  }

  /** The names in a folder of the kernel's; none if it cannot be read. */
  listNames(path: string): string[] {
    const folder = this.#symbols.opendir(cString(path));
    if (folder === null) return [];
    const names: string[] = [];
    for (let entry = this.#symbols.readdir(folder); entry !== null;) {
      names.push(new Deno.UnsafePointerView(entry).getCString(DIRENT_NAME));
      entry = this.#symbols.readdir(folder);
    }
    this.#symbols.closedir(folder);
    return names;
  }

  /** Names the thread that calls, for those who look at the process; at most 15 bytes. */
  nameThread(name: string): void {
    this.#symbols.prctlName(PR_SET_NAME, cString(name));
  }

  /** Closes a file descriptor. */
  close(fd: number): void {
    // close(2) gives the descriptor up whatever it returns.
    this.#symbols.close(fd);
  }

  /**
   * The length in bytes of an opened file.
   *
   * @throws {FileError} If it has none, as a pipe.
   */
  fileLength(fd: number): number {
    const length = this.#symbols.lseek(fd, 0n, SEEK_END);
    if (length < 0n) throw new FileError(`Cannot find a file's length: ${this.#errnoName()}`);
    return Number(length);
  }

  /**
   * Creates memory without a name in the file system; it lives until the last process lets go.
   *
   * @param label Shown in `/proc/<pid>/fd`.
   * @param byteLength Its length; all zeros.
   * @returns Its file descriptor.
   * @throws {DeviceError} If there is not enough memory.
   */
  createMemory(label: string, byteLength: number): number {
    const fd = this.#symbols.memfd_create(cString(label), MFD_CLOEXEC);
    if (fd < 0) throw new DeviceError(`Cannot create shared memory: ${this.#errnoName()}`);
    if (this.#symbols.ftruncate(fd, BigInt(byteLength)) !== 0) {
      const name = this.#errnoName();
      this.#symbols.close(fd);
      throw new DeviceError(`Cannot create ${byteLength} bytes of shared memory: ${name}`);
    }
    return fd;
  }

  /**
   * Memory without a name that holds some bytes.
   *
   * @returns Its file descriptor; the caller closes it.
   * @throws {DeviceError} If there is not enough memory.
   */
  createFilledMemory(label: string, bytes: Uint8Array<ArrayBuffer>): number {
    const fd = this.createMemory(label, 0);
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.subarray(at);
      const count = Number(this.#symbols.write(fd, rest, BigInt(rest.length)));
      if (count <= 0) {
        const name = this.#errnoName();
        this.#symbols.close(fd);
        throw new DeviceError(`Cannot write ${bytes.length} bytes to memory: ${name}`);
      }
      at += count;
    }
    return fd;
  }

  /**
   * Maps the first bytes of a file, shared with all processes that map it.
   *
   * @returns The address.
   * @throws {DeviceError} If it cannot be mapped.
   */
  map(fd: number, options: { byteLength: number; access: Access }): bigint {
    const { byteLength, access } = options;
    const length = BigInt(byteLength);
    const address = this.#symbols.mmap(0n, length, PROTECTION[access], MAP_SHARED, fd, 0n);
    if (address === MAP_FAILED) {
      throw new DeviceError(`Cannot map ${byteLength} bytes: ${this.#errnoName()}`);
    }
    return address;
  }

  /**
   * Maps memory of this process alone, zero-filled, in huge pages where the system gives them.
   *
   * @returns The address.
   * @throws {DeviceError} If there is not enough memory.
   */
  mapMemory(byteLength: number): bigint {
    const length = BigInt(byteLength);
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const address = this.#symbols.mmap(0n, length, PROTECTION.readWrite, flags, -1, 0n);
    if (address === MAP_FAILED) {
      throw new DeviceError(`Cannot map ${byteLength} bytes: ${this.#errnoName()}`);
    }
    this.adviseHugePages(address, byteLength);
    return address;
  }

  /**
   * Asks for huge pages in a mapping. A file's pages are huge only if they come from the disk after
   * this; where the system has none for files nothing changes, so that its answer does not matter.
   */
  adviseHugePages(address: bigint, byteLength: number): void {
    this.#symbols.madvise(address, BigInt(byteLength), MADV_HUGEPAGE);
  }

  /** Gives a mapping back; nothing may read or write it afterwards. */
  unmap(address: bigint, byteLength: number): void {
    if (this.#symbols.munmap(address, BigInt(byteLength)) !== 0) {
      throw new DeviceError(`Cannot unmap ${byteLength} bytes: ${this.#errnoName()}`);
    }
  }

  /** Asks the kernel to kill this process when the thread that started it ends. */
  dieWithParent(): void {
    if (this.#symbols.prctl(PR_SET_PDEATHSIG, BigInt(SIGKILL)) !== 0) {
      throw new DeviceError(`Cannot tie this process to its parent: ${this.#errnoName()}`);
    }
  }

  /** The process that started this one, or the one that adopted it. */
  parentPid(): number {
    return this.#symbols.getppid();
  }

  /** Whether a process exists; an ended one exists until its parent has asked for its status. */
  processExists(pid: number): boolean {
    return this.#symbols.kill(pid, 0) === 0 || this.#errnoName() === "EPERM";
  }

  /** The most memory in bytes that this process ever had resident; mapped files count. */
  peakResidentBytes(): number {
    const usage = new BigInt64Array(RUSAGE_WORDS);
    if (this.#symbols.getrusage(RUSAGE_SELF, new Uint8Array(usage.buffer)) !== 0) {
      throw new DeviceError(`Cannot ask for the use of memory: ${this.#errnoName()}`);
    }
    return Number(usage[RUSAGE_MAXRSS] ?? 0n) * 1024;
  }

  /** Lets another thread run on this core. */
  yieldCore(): void {
    this.#symbols.sched_yield();
  }

  /**
   * Sleeps while a shared 32-bit word has a value, at most for a time; blocks this thread.
   *
   * It returns for any reason (woken, the value differs, time over, a signal): look at the word.
   */
  waitWhile(word: bigint, options: { value: number; timeout: Timespec }): void {
    const value = options.value >>> 0;
    this.#symbols.futex(this.#futexNumber, word, FUTEX_WAIT, value, options.timeout);
  }

  /** As `waitWhile`, on another thread; the event loop goes on. Await it before disposal. */
  async waitWhileAsync(
    word: bigint,
    options: { value: number; timeout: Timespec },
  ): Promise<void> {
    const value = options.value >>> 0;
    await this.#symbols.futexNonblocking(
      this.#futexNumber,
      word,
      FUTEX_WAIT,
      value,
      options.timeout,
    );
  }

  /** Wakes all threads of all processes that sleep on a shared word. */
  wakeAll(word: bigint): void {
    this.#symbols.futex(this.#futexNumber, word, FUTEX_WAKE, FUTEX_WAKE_ALL, null);
  }

  /** Closes the library; a second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#library.close();
  }

  get #symbols(): ForeignLibrary<typeof SYMBOLS>["symbols"] {
    if (!this.#open) throw new TypeError("Cannot call the C library as it is disposed");
    return this.#library.symbols;
  }

  /** Valid only right after a blocking call: errno belongs to the thread. */
  #errnoName(): string {
    const location = this.#symbols.__errno_location();
    if (location === null) return "errno unknown";
    const errno = new Deno.UnsafePointerView(location).getInt32();
    return ERRNO_NAMES[errno] ?? `errno ${errno}`;
  }
}

/** C's `struct timespec`: seconds, nanoseconds. */
export type Timespec = BigInt64Array<ArrayBuffer>;

/** A `struct timespec` of some microseconds. */
export function timespec(durationUs: number): Timespec {
  const ns = BigInt(Math.round(durationUs)) * 1000n;
  return new BigInt64Array([ns / 1_000_000_000n, ns % 1_000_000_000n]);
}

/** A string as C takes it. */
function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new FileError(
      `Cannot use a path as it must not contain a zero: current value is ${JSON.stringify(text)}`,
    );
  }
  return new TextEncoder().encode(text + "\0");
}
