/**
 * NCCL's functions for a communicator that never blocks; signatures follow `nccl.h` 2.17 and later.
 *
 * @module
 */
import { DeviceError, invariant, WorkerError } from "../errors.ts";
import { type ForeignLibrary, openResidentLibrary } from "./library.ts";

/** `ncclUniqueId`: a struct of 128 bytes that goes by value. */
export const NCCL_ID_BYTES = 128;
const UNIQUE_ID = { struct: Array<"u8">(NCCL_ID_BYTES).fill("u8") };

/** Each parameter is commented with its C declaration; communicators and streams are pointers. */
const SYMBOLS = {
  // ncclResult_t ncclGetVersion(int *version)
  ncclGetVersion: { parameters: ["buffer"], result: "i32" },
  // ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId)
  ncclGetUniqueId: { parameters: ["buffer"], result: "i32" },
  // ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank,
  //                                     ncclConfig_t *config)
  ncclCommInitRankConfig: {
    parameters: ["buffer", "i32", UNIQUE_ID, "i32", "buffer"],
    result: "i32",
  },
  // ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError)
  ncclCommGetAsyncError: { parameters: ["u64", "buffer"], result: "i32" },
  // ncclResult_t ncclCommFinalize(ncclComm_t comm)
  ncclCommFinalize: { parameters: ["u64"], result: "i32" },
  // ncclResult_t ncclCommDestroy(ncclComm_t comm)
  ncclCommDestroy: { parameters: ["u64"], result: "i32" },
  // ncclResult_t ncclCommAbort(ncclComm_t comm)
  ncclCommAbort: { parameters: ["u64"], result: "i32" },
  // ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount,
  //                            ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream)
  ncclAllGather: { parameters: ["u64", "u64", "usize", "i32", "u64", "u64"], result: "i32" },
  // ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count,
  //                            ncclDataType_t datatype, int root, ncclComm_t comm,
  //                            cudaStream_t stream)
  ncclBroadcast: { parameters: ["u64", "u64", "usize", "i32", "i32", "u64", "u64"], result: "i32" },
  // const char *ncclGetErrorString(ncclResult_t result)
  ncclGetErrorString: { parameters: ["i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const NCCL_SUCCESS = 0;
const NCCL_IN_PROGRESS = 7;
const NCCL_UINT8 = 1;

/** The name that the dynamic loader knows the library by. */
const NCCL_LIBRARY = "libnccl.so.2";

/** The opened library. */
export class Nccl implements Disposable {
  readonly #library: ForeignLibrary<typeof SYMBOLS>;
  #open = true;

  /**
   * @param path A file, or a name that the dynamic loader resolves.
   * @throws {DeviceError} If it cannot be opened, or is older than 2.17.
   */
  constructor(path: string = NCCL_LIBRARY) {
    this.#library = openResidentLibrary(path, SYMBOLS);
  }

  /** The version as NCCL counts it, for example 22203 for 2.22.3. */
  get version(): number {
    const out = new Int32Array(1);
    this.#check("ncclGetVersion", this.symbols.ncclGetVersion(new Uint8Array(out.buffer)));
    return out[0] ?? 0;
  }

  /**
   * What all ranks of a new communicator must have; made by one of them. Where `NCCL_COMM_ID` names
   * an address, every rank may make it by itself.
   */
  createId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(NCCL_ID_BYTES);
    this.#check("ncclGetUniqueId", this.symbols.ncclGetUniqueId(id));
    return id;
  }

  /**
   * Begins to make a communicator on this thread's GPU; `NcclCommunicator.isReady()` tells its end.
   *
   * @param options `id`: as `createId()` gave it to one rank.
   * @throws {RangeError} If `id` has another length: C would read beyond it.
   * @throws {WorkerError} If NCCL refuses.
   */
  connect(
    options: { id: Uint8Array<ArrayBuffer>; rank: number; size: number },
  ): NcclCommunicator {
    const { id, rank, size } = options;
    if (id.byteLength !== NCCL_ID_BYTES) {
      throw new RangeError(
        `Cannot join a communicator as its id must have ${NCCL_ID_BYTES} bytes: ` +
          `current value is ${id.byteLength}`,
      );
    }
    const out = new BigUint64Array(1);
    const handle = new Uint8Array(out.buffer);
    // A copy: a view of a larger buffer would begin elsewhere in C's eyes.
    const status = this.symbols.ncclCommInitRankConfig(
      handle,
      size,
      Uint8Array.from(id),
      rank,
      configBytes(),
    );
    this.checkStarted("ncclCommInitRankConfig", status);
    const comm = out[0] ?? 0n;
    invariant(comm !== 0n, "a communicator that was begun has a handle");
    return new NcclCommunicator(this, comm);
  }

  /** @internal */
  get symbols(): ForeignLibrary<typeof SYMBOLS>["symbols"] {
    if (!this.#open) throw new TypeError("Cannot call NCCL as it is disposed");
    return this.#library.symbols;
  }

  /**
   * Passes over what NCCL has begun.
   *
   * @throws {WorkerError} If it has failed.
   * @internal
   */
  checkStarted(name: string, status: number): void {
    if (status !== NCCL_IN_PROGRESS) this.#check(name, status);
  }

  /** Closes the library; a second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#library.close();
  }

  #check(name: string, status: number): void {
    if (status === NCCL_SUCCESS) return;
    const words = this.symbols.ncclGetErrorString(status);
    const text = words === null ? `error ${status}` : Deno.UnsafePointerView.getCString(words);
    const message = `Cannot exchange between GPUs as ${name} failed: ${text}`;
    if (name === "ncclGetVersion") throw new DeviceError(message);
    throw new WorkerError(message, { rank: -1, phase: "unknown" });
  }
}

/** One rank's end of a communicator. */
export class NcclCommunicator {
  readonly #nccl: Nccl;
  readonly #handle: bigint;
  #alive = true;

  /** Made by `Nccl.connect()`. */
  constructor(nccl: Nccl, handle: bigint) {
    this.#nccl = nccl;
    this.#handle = handle;
  }

  /**
   * Whether all that was begun on the host's side has ended.
   *
   * @throws {WorkerError} If it has failed: a rank is lost, or NCCL is misused.
   */
  isReady(): boolean {
    const out = new Int32Array(1);
    const { ncclCommGetAsyncError } = this.#nccl.symbols;
    const status = ncclCommGetAsyncError(this.#live, new Uint8Array(out.buffer));
    this.#nccl.checkStarted("ncclCommGetAsyncError", status);
    this.#nccl.checkStarted("an exchange", out[0] ?? 0);
    return out[0] === NCCL_SUCCESS;
  }

  /**
   * Begins to put an all-gather into a stream, behind what is there; begun calls must have ended.
   *
   * A thread of NCCL's does it: it is in the stream when `isReady()`.
   */
  allGather(
    options: { from: bigint; to: bigint; byteLength: number; stream: bigint },
  ): void {
    const { from, to, byteLength, stream } = options;
    const { ncclAllGather } = this.#nccl.symbols;
    const status = ncclAllGather(from, to, BigInt(byteLength), NCCL_UINT8, this.#live, stream);
    this.#nccl.checkStarted("ncclAllGather", status);
  }

  /** As `allGather()`: gives all ranks the bytes of `root`, in place. */
  broadcast(
    options: { address: bigint; byteLength: number; root: number; stream: bigint },
  ): void {
    const { address, byteLength, root, stream } = options;
    const { ncclBroadcast } = this.#nccl.symbols;
    const count = BigInt(byteLength);
    const comm = this.#live;
    const status = ncclBroadcast(address, address, count, NCCL_UINT8, root, comm, stream);
    this.#nccl.checkStarted("ncclBroadcast", status);
  }

  /** Begins to end the communicator together with all ranks; then `isReady()`, then `destroy()`. */
  finalize(): void {
    const { ncclCommFinalize } = this.#nccl.symbols;
    this.#nccl.checkStarted("ncclCommFinalize", ncclCommFinalize(this.#live));
  }

  /** Frees it after `finalize()`. */
  destroy(): void {
    if (!this.#alive) return;
    const handle = this.#live;
    this.#alive = false;
    this.#nccl.checkStarted("ncclCommDestroy", this.#nccl.symbols.ncclCommDestroy(handle));
  }

  /** Frees it at once; what hangs in a stream because of it ends. A second call does nothing. */
  abort(): void {
    if (!this.#alive) return;
    const handle = this.#live;
    this.#alive = false;
    // Whatever it returns, nobody can do more.
    this.#nccl.symbols.ncclCommAbort(handle);
  }

  get #live(): bigint {
    if (!this.#alive) throw new TypeError("Cannot use a communicator as it has ended");
    return this.#handle;
  }
}

const CONFIG_BYTES = 40;
const CONFIG_MAGIC = 0xcafebeef;
const CONFIG_VERSION = 21700;
const UNDEFINED_INT = -(2 ** 31);

/**
 * `ncclConfig_t` as of 2.17, which later versions take too: size, magic, version, blocking = 0, and
 * the rest (cgaClusterSize, minCTAs, maxCTAs, netName) left to NCCL.
 */
function configBytes(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(CONFIG_BYTES), true);
  view.setUint32(8, CONFIG_MAGIC, true);
  view.setUint32(12, CONFIG_VERSION, true);
  for (const offset of [20, 24, 28]) view.setInt32(offset, UNDEFINED_INT, true);
  return bytes;
}
