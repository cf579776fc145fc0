/**
 * HTTP for a function from requests to responses.
 *
 * By node:http: Deno.serve (2.9.6) says of a client that went only after the answer, but for requests of
 * some hundred bytes (findings/deno_serve_aborts_short_bodies.sh), and a prompt is computed in between.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { errorText, UsageError } from "../../lib/errors.ts";
import { ApiError, errorResponse } from "./errors.ts";

/** Answers a request; the request's signal aborts when its client goes before the answer has ended. */
export type Handle = (request: Request) => Promise<Response>;

/** What listens. */
export interface Listener {
  readonly port: number;
  /** Takes no further connection, and settles when what is asked has been answered. */
  close(): Promise<void>;
}

/** How long a connection without a request stays, in ms: longer than clients keep theirs. */
const KEEP_ALIVE_MS = 75_000;

/**
 * Starts to listen.
 *
 * @param place `port` 0 takes a free one.
 * @throws {UsageError} If nothing can listen there.
 */
export async function listen(
  place: { readonly hostname: string; readonly port: number },
  handle: Handle,
): Promise<Listener> {
  const { hostname, port } = place;
  const running = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
    const answered = answer(incoming, outgoing, handle)
      // An answer that cannot be sent breaks off.
      .catch(() => void outgoing.destroy())
      .finally(() => running.delete(answered));
    running.add(answered);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      const text = `Cannot listen at ${hostname}, port ${port}: ${errorText(error)}`;
      reject(new UsageError(text, { cause: error }));
    });
    server.listen(port, hostname, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => closeServer(server, running),
  };
}

async function closeServer(server: Server, running: Set<Promise<void>>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  await Promise.all(running);
  server.closeAllConnections();
  await closed;
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  handle: Handle,
): Promise<void> {
  const gone = new AbortController();
  const closed = new Promise<void>((resolve) => {
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) gone.abort();
      resolve();
    });
  });
  // Nobody is left to be told.
  outgoing.on("error", () => outgoing.destroy());
  incoming.on("error", () => outgoing.destroy());
  let response: Response;
  try {
    response = await handle(requestOf(incoming, gone));
  } catch (error) {
    response = errorResponse(error);
  }
  if (outgoing.destroyed) await response.body?.cancel();
  else await send(response, { incoming, outgoing, gone: gone.signal });
  await closed;
}

/** @throws {ApiError} If it is none that a program could have sent by `fetch()`. */
function requestOf(incoming: IncomingMessage, gone: AbortController): Request {
  const { signal } = gone;
  const { method = "GET", url = "/" } = incoming;
  try {
    const headers = new Headers();
    for (const [name, value] of Object.entries(incoming.headers)) {
      for (const one of [value ?? []].flat()) headers.append(name, one);
    }
    const place = url.startsWith("/") ? `http://localhost${url}` : url;
    const hasBody = method !== "GET" && method !== "HEAD";
    const body = hasBody ? bodyOf(incoming, gone) : null;
    return new Request(place, { method, headers, signal, body });
  } catch (error) {
    throw new ApiError(400, `The request cannot be read: ${errorText(error)}`, { cause: error });
  }
}

/** The parts as they come; who reads too slowly holds the client up. */
function bodyOf(incoming: IncomingMessage, gone: AbortController): ReadableStream<Uint8Array> {
  const parts = incoming[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const { done, value } = await parts.next();
        if (done === true) controller.close();
        else controller.enqueue(new Uint8Array(value));
      } catch (error) {
        // The client went amid its request.
        gone.abort();
        throw error;
      }
    },
  }, { highWaterMark: 0 });
}

async function send(
  response: Response,
  options: { incoming: IncomingMessage; outgoing: ServerResponse; gone: AbortSignal },
): Promise<void> {
  const { incoming, outgoing, gone } = options;
  const headers = Object.fromEntries(response.headers);
  // What the client still sends has no reader any more.
  if (!incoming.complete) headers.Connection = "close";
  incoming.resume();
  if (!headers["content-type"]?.startsWith("text/event-stream")) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    headers["Content-Length"] = String(bytes.length);
    outgoing.writeHead(response.status, headers).end(
      incoming.method === "HEAD" ? undefined : bytes,
    );
    return;
  }
  outgoing.writeHead(response.status, headers);
  const reader = response.body?.getReader();
  gone.addEventListener("abort", () => void reader?.cancel());
  try {
    for (;;) {
      const part = await reader?.read();
      if (part === undefined || part.done) break;
      if (!outgoing.write(part.value)) await drained(outgoing);
    }
    outgoing.end();
  } catch {
    // A stream that failed behind its beginning breaks off, so that nobody takes a part for the whole.
    outgoing.destroy();
  }
}

/** Settles when more may be written, or never will be. */
async function drained(outgoing: ServerResponse): Promise<void> {
  if (outgoing.destroyed) return;
  await new Promise<void>((resolve) => {
    outgoing.once("drain", resolve);
    outgoing.once("close", resolve);
  });
}
