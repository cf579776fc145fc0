/**
 * A group whose ranks are other processes, started by `mpirun`, as the conformance suite takes it.
 *
 * @module
 */
import type {
  BroadcastOptions,
  Collective,
  CollectiveOptions,
} from "../../lib/parallel/collective.ts";
import type { MpiFlavour } from "../../lib/ffi/mpi.ts";
import { withoutLauncher } from "../../lib/team/launch.ts";
import { restoreError } from "../../lib/team/protocol.ts";
import type { TestGroup } from "./collective_suite.ts";
import { decodeBytes, encodeBytes, type RemoteCall, type RemoteReply } from "./remote_protocol.ts";

/** How to start `size` processes on this machine, more than it has cores if need be. */
export function mpirunCommand(
  flavour: MpiFlavour,
  options: { size: number; args: readonly string[]; env?: Readonly<Record<string, string>> },
): Deno.Command {
  const own = flavour === "openmpi" ? ["--oversubscribe", "--bind-to", "none"] : [];
  const words = [MPIRUN[flavour], ...own, "-np", String(options.size), Deno.execPath()];
  const [program = "", ...args] = withoutLauncher([...words, ...options.args]);
  return new Deno.Command(program, {
    args,
    env: {
      OMPI_ALLOW_RUN_AS_ROOT: "1",
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
      // Without it, processes that have no core of their own never give theirs away.
      OMPI_MCA_mpi_yield_when_idle: "1",
      ...options.env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** Debian's names, which stay apart when both are installed. */
const MPIRUN: Readonly<Record<MpiFlavour, string>> = {
  openmpi: "mpirun.openmpi",
  mpich: "mpirun.mpich",
};

/** Whether a launcher is installed. */
export async function hasMpirun(flavour: MpiFlavour): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(MPIRUN[flavour], {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Starts a group under `mpirun`. */
export async function connectMpi(
  flavour: MpiFlavour,
  options: { size: number; timeoutMs: number; pieceBytes: number },
): Promise<TestGroup> {
  const { size, timeoutMs, pieceBytes } = options;
  const folder = await Deno.makeTempDir();
  const path = `${folder}/ranks`;
  using listener = Deno.listen({ transport: "unix", path });
  const entry = new URL("./mpi_rank.ts", import.meta.url).pathname;
  const settings = [flavour, path, String(timeoutMs), String(pieceBytes)];
  const command = mpirunCommand(flavour, {
    size,
    args: ["run", "-A", "--no-check", "--no-code-cache", "--quiet", entry, ...settings],
  });
  const process = command.spawn();
  const output = process.output();
  const ranks: RemoteCollective[] = [];
  for (let i = 0; i < size; i++) {
    const connection = await Promise.race([
      listener.accept(),
      output.then(({ stderr }) => {
        throw new Error(`mpirun ended: ${new TextDecoder().decode(stderr)}`);
      }),
    ]);
    const rank = await RemoteCollective.open(connection);
    ranks[rank.rank] = rank;
  }
  return {
    ranks,
    async [Symbol.asyncDispose]() {
      for (const rank of ranks) rank.hangUp();
      await output;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** The collective of another process. */
class RemoteCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly #connection: Deno.Conn;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, PromiseWithResolvers<RemoteReply>>();
  readonly #reading: Promise<void>;
  #calls = 0;

  private constructor(
    connection: Deno.Conn,
    hello: { rank: number; size: number; replies: AsyncIterator<RemoteReply> },
  ) {
    this.#connection = connection;
    this.#writer = connection.writable.getWriter();
    this.rank = hello.rank;
    this.size = hello.size;
    this.#reading = this.#read(hello.replies);
  }

  static async open(connection: Deno.Conn): Promise<RemoteCollective> {
    const replies = readReplies(connection);
    const { value } = await replies.next();
    const { rank = 0, size = 0 } = value ?? {};
    return new RemoteCollective(connection, { rank, size, replies });
  }

  async allGather(
    part: Uint8Array,
    out: Uint8Array,
    options: CollectiveOptions = {},
  ): Promise<void> {
    const data = encodeBytes(part);
    const outBytes = out.byteLength;
    out.set(await this.#call({ operation: "allGather", data, outBytes, ...options }));
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    data.set(await this.#call({ operation: "broadcast", data: encodeBytes(data), ...options }));
  }

  async barrier(options: CollectiveOptions = {}): Promise<void> {
    await this.#call({ operation: "barrier", ...options });
  }

  abort(reason: string): void {
    this.#call({ operation: "abort", reason }).catch(() => {});
  }

  close(): void {
    this.#call({ operation: "close" }).catch(() => {});
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Ends the process. */
  hangUp(): void {
    try {
      this.#connection.close();
    } catch (error) {
      // Reading has ended already, and with it the connection.
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
    this.#reading.catch(() => {});
  }

  async #call(call: Omit<RemoteCall, "id">): Promise<Uint8Array> {
    const id = this.#calls++;
    const waiting = Promise.withResolvers<RemoteReply>();
    this.#waiting.set(id, waiting);
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify({ id, ...call })}\n`));
    const { error, data = "" } = await waiting.promise;
    if (error !== undefined) throw restoreError(error);
    return decodeBytes(data);
  }

  async #read(replies: AsyncIterator<RemoteReply>): Promise<void> {
    try {
      for (let next = await replies.next(); !next.done; next = await replies.next()) {
        this.#waiting.get(next.value.id)?.resolve(next.value);
        this.#waiting.delete(next.value.id);
      }
    } finally {
      for (const waiting of this.#waiting.values()) {
        waiting.promise.catch(() => {});
        waiting.reject(new Error(`rank ${this.rank} has ended`));
      }
    }
  }
}

async function* readReplies(connection: Deno.Conn): AsyncGenerator<RemoteReply, void, void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of connection.readable) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}
