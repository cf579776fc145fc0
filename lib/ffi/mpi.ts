/**
 * The calls of an MPI library that a collective needs, for Open MPI 4 and 5 and for MPICH.
 *
 * Signatures follow the MPI standard 3.1. The two libraries differ in their handles: Open MPI's are
 * pointers, found from the Fortran numbers (`mpi.h`, `MPI_Comm_f2c`), MPICH's are integers of its
 * `mpi.h`. Nothing here waits, but for `initialize()` and `finalize()`, which run on other threads:
 * a thread that is blocked inside of MPI ignores signals and holds the event loop.
 *
 * @module
 */
import { DeviceError, invariant, WorkerError } from "../errors.ts";
import { type ForeignLibrary, openLibrary } from "./library.ts";
import { bytesAt } from "./memory.ts";

/** Each parameter is commented with its C declaration; handles are 64 bits wide or narrower. */
const SYMBOLS = {
  // int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
  MPI_Init_thread: { parameters: ["u64", "u64", "i32", "u64"], result: "i32", nonblocking: true },
  // int MPI_Finalize(void)
  MPI_Finalize: { parameters: [], result: "i32", nonblocking: true },
  // int MPI_Comm_rank(MPI_Comm comm, int *rank)
  MPI_Comm_rank: { parameters: ["u64", "u64"], result: "i32" },
  // int MPI_Comm_size(MPI_Comm comm, int *size)
  MPI_Comm_size: { parameters: ["u64", "u64"], result: "i32" },
  // int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler errhandler)
  MPI_Comm_set_errhandler: { parameters: ["u64", "u64"], result: "i32" },
  // int MPI_Iallgather(const void *sendbuf, int sendcount, MPI_Datatype sendtype, void *recvbuf,
  //                    int recvcount, MPI_Datatype recvtype, MPI_Comm comm, MPI_Request *request)
  MPI_Iallgather: {
    parameters: ["u64", "i32", "u64", "u64", "i32", "u64", "u64", "u64"],
    result: "i32",
  },
  // int MPI_Ibcast(void *buffer, int count, MPI_Datatype datatype, int root, MPI_Comm comm,
  //                MPI_Request *request)
  MPI_Ibcast: { parameters: ["u64", "i32", "u64", "i32", "u64", "u64"], result: "i32" },
  // int MPI_Isend(const void *buf, int count, MPI_Datatype datatype, int dest, int tag,
  //               MPI_Comm comm, MPI_Request *request)
  MPI_Isend: { parameters: ["u64", "i32", "u64", "i32", "i32", "u64", "u64"], result: "i32" },
  // int MPI_Irecv(void *buf, int count, MPI_Datatype datatype, int source, int tag,
  //               MPI_Comm comm, MPI_Request *request)
  MPI_Irecv: { parameters: ["u64", "i32", "u64", "i32", "i32", "u64", "u64"], result: "i32" },
  // int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
  MPI_Test: { parameters: ["u64", "u64", "u64"], result: "i32" },
  // int MPI_Cancel(MPI_Request *request)
  MPI_Cancel: { parameters: ["u64"], result: "i32" },
  // int MPI_Error_string(int errorcode, char *string, int *resultlen)
  MPI_Error_string: { parameters: ["i32", "u64", "u64"], result: "i32" },
  // int MPI_Get_library_version(char *version, int *resultlen)
  MPI_Get_library_version: { parameters: ["u64", "u64"], result: "i32" },
  // MPI_Comm MPI_Comm_f2c(MPI_Fint comm); macros in MPICH
  MPI_Comm_f2c: { parameters: ["i32"], result: "u64", optional: true },
  // MPI_Datatype MPI_Type_f2c(MPI_Fint datatype)
  MPI_Type_f2c: { parameters: ["i32"], result: "u64", optional: true },
  // MPI_Errhandler MPI_Errhandler_f2c(MPI_Fint errhandler)
  MPI_Errhandler_f2c: { parameters: ["i32"], result: "u64", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;

const LOADER_SYMBOLS = {
  // void *dlopen(const char *filename, int flags)
  dlopen: { parameters: ["buffer", "i32"], result: "pointer" },
  // char *dlerror(void)
  dlerror: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const RTLD_LAZY = 1;
const RTLD_GLOBAL = 0x100;
const MPI_SUCCESS = 0;
const MPI_THREAD_SERIALIZED = 2;
/** `MPI_MAX_ERROR_STRING` and `MPI_MAX_LIBRARY_VERSION_STRING` are smaller everywhere. */
const TEXT_BYTES = 8192;

/** Whose library it is. */
export type MpiFlavour = "openmpi" | "mpich";

/** The names that the dynamic loader knows the libraries by. */
export const MPI_LIBRARIES: Readonly<Record<MpiFlavour, string>> = {
  openmpi: "libmpi.so.40",
  mpich: "libmpich.so.12",
};

/** What stands for the world, its errors, and any sender. */
interface Handles {
  readonly world: bigint;
  readonly byte: bigint;
  readonly errorsReturn: bigint;
  readonly anySource: number;
}

/** Where results and texts are written: an address that does not move. */
interface Scratch {
  readonly address: bigint;
  readonly byteLength: number;
}

/** Bytes that a scratch must have. */
export const MPI_SCRATCH_BYTES = TEXT_BYTES + 128;
const FLAG = BigInt(TEXT_BYTES);
const STATUS = BigInt(TEXT_BYTES + 64);

/** An MPI library; a process can be initialized once. */
export class Mpi {
  readonly flavour: MpiFlavour;
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  readonly #scratch: bigint;
  readonly #flag: Int32Array<ArrayBuffer>;
  #handles: Handles | undefined;

  /**
   * Opens a library. Its symbols are made global, as Open MPI's components look for them there; it
   * stays open until the process ends, as it leaves threads behind.
   *
   * @param path A file, or a name that the dynamic loader resolves.
   * @param options.scratch At least `MPI_SCRATCH_BYTES`, never freed.
   * @throws {DeviceError} If it cannot be opened.
   */
  constructor(path: string, options: { flavour: MpiFlavour; scratch: Scratch }) {
    const { flavour, scratch } = options;
    invariant(scratch.byteLength >= MPI_SCRATCH_BYTES, "MPI's results need their room");
    this.flavour = flavour;
    this.#scratch = scratch.address;
    const flag = bytesAt(scratch.address + FLAG, 64);
    this.#flag = new Int32Array(flag.buffer, flag.byteOffset, 16);
    openGlobally(path);
    this.#library = openLibrary(path, SYMBOLS);
  }

  /** The library's name and version; can be asked before `initialize()`. */
  get version(): string {
    const { MPI_Get_library_version: ask } = this.#library.symbols;
    if (ask(this.#scratch, this.#scratch + FLAG) !== MPI_SUCCESS) return this.flavour;
    return this.#text().split("\n", 1)[0]?.replaceAll("\t", " ").trim() ?? this.flavour;
  }

  /**
   * Joins the processes that the launcher started; waits until all of them have come.
   *
   * @throws {WorkerError} If the library refuses.
   */
  async initialize(): Promise<void> {
    const { symbols } = this.#library;
    const provided = this.#scratch + FLAG;
    const code = await symbols.MPI_Init_thread(0n, 0n, MPI_THREAD_SERIALIZED, provided);
    if (code !== MPI_SUCCESS) throw startError(`MPI_Init_thread gave code ${code}`);
    if ((this.#flag[0] ?? 0) < MPI_THREAD_SERIALIZED) {
      throw startError("the library must be built with MPI_THREAD_SERIALIZED");
    }
    const handles = this.flavour === "mpich" ? MPICH_HANDLES : this.#openMpiHandles();
    this.#handles = handles;
    this.#check("MPI_Comm_set_errhandler", [
      symbols.MPI_Comm_set_errhandler(handles.world, handles.errorsReturn),
    ]);
  }

  /** Takes leave; all processes must do so. Waits for them, on another thread. */
  async finalize(): Promise<void> {
    this.#check("MPI_Finalize", [await this.#library.symbols.MPI_Finalize()]);
  }

  /** This process's number. */
  get rank(): number {
    return this.#number("MPI_Comm_rank");
  }

  /** The number of processes. */
  get size(): number {
    return this.#number("MPI_Comm_size");
  }

  /** Starts an all-gather of `byteLength` bytes of each rank; `request` has 8 bytes. */
  allGather(
    request: bigint,
    options: { from: bigint; to: bigint; byteLength: number },
  ): void {
    const { from, to, byteLength } = options;
    const { world, byte } = this.#ready;
    const { MPI_Iallgather: call } = this.#library.symbols;
    this.#check("MPI_Iallgather", [
      call(from, byteLength, byte, to, byteLength, byte, world, request),
    ]);
  }

  /** Starts a broadcast. */
  broadcast(
    request: bigint,
    options: { data: bigint; byteLength: number; root: number },
  ): void {
    const { data, byteLength, root } = options;
    const { world, byte } = this.#ready;
    const { MPI_Ibcast: call } = this.#library.symbols;
    this.#check("MPI_Ibcast", [call(data, byteLength, byte, root, world, request)]);
  }

  /** Starts to send. */
  send(
    request: bigint,
    options: { from: bigint; byteLength: number; rank: number; tag: number },
  ): void {
    const { from, byteLength, rank, tag } = options;
    const { world, byte } = this.#ready;
    const { MPI_Isend: call } = this.#library.symbols;
    this.#check("MPI_Isend", [call(from, byteLength, byte, rank, tag, world, request)]);
  }

  /** Starts to receive from anybody, at most `byteLength` bytes. */
  receive(
    request: bigint,
    options: { to: bigint; byteLength: number; tag: number },
  ): void {
    const { to, byteLength, tag } = options;
    const { world, byte, anySource } = this.#ready;
    const { MPI_Irecv: call } = this.#library.symbols;
    this.#check("MPI_Irecv", [call(to, byteLength, byte, anySource, tag, world, request)]);
  }

  /** Whether what was started has ended; its request is void then. Also moves all others on. */
  test(request: bigint): boolean {
    const flag = this.#scratch + FLAG;
    const { MPI_Test: call } = this.#library.symbols;
    this.#check("MPI_Test", [call(request, flag, this.#scratch + STATUS)]);
    return this.#flag[0] !== 0;
  }

  /** Gives a receive up; it still has to be tested until it has ended. */
  cancel(request: bigint): void {
    this.#check("MPI_Cancel", [this.#library.symbols.MPI_Cancel(request)]);
  }

  get #ready(): Handles {
    if (this.#handles === undefined) throw new TypeError("Cannot use MPI as it is not initialized");
    return this.#handles;
  }

  #openMpiHandles(): Handles {
    const { MPI_Comm_f2c, MPI_Type_f2c, MPI_Errhandler_f2c } = this.#library.symbols;
    if (MPI_Comm_f2c === null || MPI_Type_f2c === null || MPI_Errhandler_f2c === null) {
      throw new DeviceError("Cannot use the MPI library as it lacks MPI_Comm_f2c");
    }
    return {
      world: MPI_Comm_f2c(0),
      byte: MPI_Type_f2c(1),
      errorsReturn: MPI_Errhandler_f2c(2),
      anySource: -1,
    };
  }

  #number(name: "MPI_Comm_rank" | "MPI_Comm_size"): number {
    const { world } = this.#ready;
    this.#check(name, [this.#library.symbols[name](world, this.#scratch + FLAG)]);
    return this.#flag[0] ?? 0;
  }

  #check(name: string, [code]: readonly [number]): void {
    if (code === MPI_SUCCESS) return;
    const { MPI_Error_string: ask } = this.#library.symbols;
    const known = ask(code, this.#scratch, this.#scratch + FLAG) === MPI_SUCCESS;
    throw new WorkerError(
      `Cannot exchange as ${name} failed: ${known ? this.#text() : `code ${code}`}`,
      { rank: -1, phase: "unknown" },
    );
  }

  /** The text that a call wrote, of the length that it wrote. */
  #text(): string {
    const length = Math.min(Math.max(this.#flag[0] ?? 0, 0), TEXT_BYTES);
    return new TextDecoder().decode(bytesAt(this.#scratch, TEXT_BYTES).slice(0, length))
      .replace(/\0.*$/s, "");
  }
}

/** MPICH's `mpi.h`: the same in all versions of its ABI, libmpich.so.12. */
const MPICH_HANDLES: Handles = {
  world: 0x44000000n,
  byte: 0x4c00010dn,
  errorsReturn: 0x54000001n,
  anySource: -2,
};

function openGlobally(path: string): void {
  const loader = openLibrary("libc.so.6", LOADER_SYMBOLS);
  try {
    const name = new TextEncoder().encode(`${path}\0`);
    if (loader.symbols.dlopen(name, RTLD_LAZY | RTLD_GLOBAL) !== null) return;
    const words = loader.symbols.dlerror();
    const cause = words === null ? "unknown" : Deno.UnsafePointerView.getCString(words);
    throw new DeviceError(`Cannot open the MPI library ${path}: ${cause}`);
  } finally {
    loader.close();
  }
}

function startError(cause: string): WorkerError {
  return new WorkerError(`Cannot start MPI: ${cause}`, { rank: -1, phase: "start" });
}
