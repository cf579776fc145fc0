/**
 * An answer as server-sent events.
 *
 * @module
 */

/**
 * After so long without an event a comment is sent. Clients and proxies take silence for a lost
 * connection: Node's fetch after 300 s, nginx after 60, whatever timeout the client was given.
 */
const QUIET_MS = 15_000;

/** What produces the events gets this. */
export interface EventSink {
  /** Sends an event with some JSON. */
  send(data: unknown): void;
}

/**
 * Runs a producer and answers with its events, ended by `[DONE]`. The answer begins with the first
 * event, or with a comment if that takes long, so that what fails before is an error with its own
 * status; what fails later breaks the connection, so that nobody takes a part for the whole.
 *
 * @param produce Sends the events. @param cancel Called if the client goes, and at the end.
 * @param quietMs Between two looks for whether something was sent.
 */
export async function eventStream(
  produce: (sink: EventSink) => Promise<void>,
  cancel: () => void,
  quietMs = QUIET_MS,
): Promise<Response> {
  const encoder = new TextEncoder();
  const first = Promise.withResolvers<void>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isOpen = true;
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: () => {
      isOpen = false;
      cancel();
    },
  });
  let isQuiet = true;
  const write = (text: string) => {
    isQuiet = false;
    if (isOpen) controller?.enqueue(encoder.encode(text));
  };
  const timer = setInterval(() => {
    if (isQuiet) write(": waiting\n\n");
    first.resolve();
    isQuiet = true;
  }, quietMs);
  const sink: EventSink = {
    send: (data) => {
      write(`data: ${JSON.stringify(data)}\n\n`);
      first.resolve();
    },
  };
  produce(sink).then(() => {
    write("data: [DONE]\n\n");
    first.resolve();
    if (isOpen) controller?.close();
  }, (error) => {
    first.reject(error);
    controller?.error(error);
  }).catch(() => {
    // The client went: nobody is left to be told.
  }).finally(() => {
    clearInterval(timer);
    isOpen = false;
    cancel();
  });
  await first.promise;
  const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
  return new Response(body, { headers });
}
