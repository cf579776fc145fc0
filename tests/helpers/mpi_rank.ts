/**
 * A process that `mpirun` starts: one rank, which does what a test asks for over a socket.
 *
 * Arguments: the flavour of MPI, the socket, the time-out, the bytes of a piece.
 *
 * @module
 */
import { MpiCollective } from "../../lib/parallel/mpi.ts";
import { decodeBytes, encodeBytes, type RemoteCall, type RemoteReply } from "./remote_protocol.ts";
import { recordError } from "../../lib/team/protocol.ts";

/** Bytes around the buffers, which must stay as they are. */
const GUARD = 24;

async function serve(): Promise<void> {
  const [flavour = "", path = "", timeoutMs = "", pieceBytes = ""] = Deno.args;
  const collective = await MpiCollective.join({
    flavour: flavour === "mpich" ? "mpich" : "openmpi",
    timeoutMs: Number(timeoutMs),
    pieceBytes: Number(pieceBytes),
  });
  const connection = await Deno.connect({ transport: "unix", path });
  const writer = connection.writable.getWriter();
  const reply = async (message: RemoteReply) => {
    await writer.write(new TextEncoder().encode(`${JSON.stringify(message)}\n`));
  };
  await reply({ id: -1, rank: collective.rank, size: collective.size });
  let rest = "";
  for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const call: RemoteCall = JSON.parse(line);
      if (call.operation === "leave") {
        await collective.leave();
        await reply({ id: call.id });
        Deno.exit(0);
      }
      perform(collective, call).then(
        (data) => reply(data === undefined ? { id: call.id } : { id: call.id, data }),
        (error) => reply({ id: call.id, error: recordError(error) }),
      );
    }
  }
  // As a rank does that has lost the others: the launcher ends them.
  Deno.exit(1);
}

/** The call begins before this returns, so that calls stay in their order. */
async function perform(collective: MpiCollective, call: RemoteCall): Promise<string | undefined> {
  const options = call.timeoutMs === undefined ? {} : { timeoutMs: call.timeoutMs };
  switch (call.operation) {
    case "barrier":
      await collective.barrier(options);
      return undefined;
    case "abort":
      collective.abort(call.reason ?? "");
      return undefined;
    case "close":
      collective.close();
      return undefined;
    case "broadcast": {
      const data = guarded(decodeBytes(call.data ?? ""));
      await collective.broadcast(data.inner, { ...options, root: call.root ?? 0 });
      data.check();
      return encodeBytes(data.inner);
    }
    case "allGather": {
      const part = guarded(decodeBytes(call.data ?? ""));
      const out = guarded(new Uint8Array(call.outBytes ?? 0));
      await collective.allGather(part.inner, out.inner, options);
      part.check();
      out.check();
      return encodeBytes(out.inner);
    }
    case "leave":
      return undefined;
  }
}

function guarded(data: Uint8Array): { inner: Uint8Array; check(): void } {
  const all = new Uint8Array(data.length + 2 * GUARD).fill(0xa5);
  all.set(data, GUARD);
  return {
    inner: all.subarray(GUARD, GUARD + data.length),
    check() {
      const edges = [...all.subarray(0, GUARD), ...all.subarray(GUARD + data.length)];
      if (edges.some((byte) => byte !== 0xa5)) {
        throw new Error("Bytes beside a buffer were written");
      }
    },
  };
}

if (import.meta.main) await serve();
