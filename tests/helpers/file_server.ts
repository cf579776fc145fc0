/**
 * An http server on loopback that misbehaves as it is told: it speaks HTTP/1.1 by itself, since a
 * proper server does not let go of a connection in the middle of a body.
 *
 * @module
 */

/** What was asked for. */
export interface Asked {
  readonly path: string;
  readonly headers: Headers;
  /** How often this path was asked for before. */
  readonly earlier: number;
}

/** What is answered. */
export interface Answer {
  /** @default {200} */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** The connection ends after so many bytes of the body. */
  readonly dropAfter?: number;
  /** The connection then stays open, and nothing more is sent. */
  readonly hangs?: boolean;
  /** A header `Range` is understood. */
  readonly ranges?: boolean;
  /** The body's length is not announced. */
  readonly isChunked?: boolean;
}

/** A server that runs. */
export interface FileServer extends AsyncDisposable {
  /** Its address, without a slash at its end. */
  readonly address: string;
  /** Everything that was asked for, in order. */
  readonly asked: readonly Asked[];
}

/**
 * Starts a server.
 *
 * @param answer Says what is answered.
 */
export function serveFiles(answer: (asked: Asked) => Answer): FileServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const asked: Asked[] = [];
  const open = new Set<Deno.Conn>();
  const serve = async (connection: Deno.Conn): Promise<void> => {
    open.add(connection);
    const head = await readHead(connection);
    if (head === undefined) return;
    const [first = "", ...lines] = head.split("\r\n");
    const path = first.split(" ")[1] ?? "";
    const headers = new Headers(
      lines.filter(Boolean).map((line): [string, string] => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
    );
    const earlier = asked.filter((other) => other.path === path).length;
    const request = { path, headers, earlier };
    asked.push(request);
    const what = answer(request);
    await write(connection, what, headers.get("Range"));
    if (what.hangs !== true) close(connection);
  };
  const close = (connection: Deno.Conn): void => {
    if (open.delete(connection)) connection.close();
  };
  const done = (async () => {
    const served: Promise<void>[] = [];
    for await (const connection of listener) {
      // A client that has gone is what is tested.
      served.push(serve(connection).catch(() => close(connection)));
    }
    await Promise.all(served);
  })();
  return {
    address: `http://127.0.0.1:${listener.addr.port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      listener.close();
      for (const connection of open) connection.close();
      open.clear();
      await done;
    },
  };
}

async function readHead(connection: Deno.Conn): Promise<string | undefined> {
  let text = "";
  const chunk = new Uint8Array(4096);
  while (!text.includes("\r\n\r\n")) {
    const count = await connection.read(chunk);
    if (count === null) return undefined;
    text += new TextDecoder().decode(chunk.subarray(0, count));
  }
  return text.slice(0, text.indexOf("\r\n\r\n"));
}

async function write(
  connection: Deno.Conn,
  answer: Answer,
  range: string | null,
): Promise<void> {
  const { status = 200, body = new Uint8Array(0), dropAfter, ranges, isChunked } = answer;
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  const isPart = ranges === true && status === 200 && from > 0;
  const content = isPart ? body.subarray(from) : body;
  const headers: Record<string, string> = {
    Connection: "close",
    ...(isChunked ? { "Transfer-Encoding": "chunked" } : { "Content-Length": `${content.length}` }),
    ...(isPart ? { "Content-Range": `bytes ${from}-${body.length - 1}/${body.length}` } : {}),
    ...answer.headers,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const text = new TextEncoder();
  const sent = content.subarray(0, dropAfter ?? content.length);
  const packet = Uint8Array.from([
    ...text.encode(`HTTP/1.1 ${isPart ? 206 : status} Word\r\n${lines}\r\n`),
    ...(isChunked ? text.encode(`${content.length.toString(16)}\r\n`) : []),
    ...sent,
    ...(isChunked && dropAfter === undefined ? text.encode("\r\n0\r\n\r\n") : []),
  ]);
  for (let at = 0; at < packet.length;) at += await connection.write(packet.subarray(at));
}
