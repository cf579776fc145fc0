/**
 * An answer as server-sent events.
 *
 * @module
 */

/** What produces the events gets this. */
export interface EventSink {
  /** Sends an event with some JSON. */
  send(data: unknown): void;
}

/**
 * Runs a producer and answers with its events, ended by `[DONE]`. The answer begins with the first
 * event, so that what fails before it is an error with its own status; what fails later breaks the
 * connection, so that nobody takes a part for the whole.
 *
 * @param produce Sends the events. @param cancel Called if the client goes, and at the end.
 */
export async function eventStream(
  produce: (sink: EventSink) => Promise<void>,
  cancel: () => void,
): Promise<Response> {
  const encoder = new TextEncoder();
  const first = Promise.withResolvers<void>();
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel,
  });
  let isOpen = true;
  const write = (text: string) => {
    if (isOpen) controller?.enqueue(encoder.encode(`data: ${text}\n\n`));
  };
  const sink: EventSink = {
    send: (data) => {
      write(JSON.stringify(data));
      first.resolve();
    },
  };
  produce(sink).then(() => {
    write("[DONE]");
    first.resolve();
    if (isOpen) controller?.close();
  }, (error) => {
    first.reject(error);
    controller?.error(error);
  }).catch(() => {
    // The client went: nobody is left to be told.
  }).finally(() => {
    isOpen = false;
    cancel();
  });
  await first.promise;
  const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" };
  return new Response(body, { headers });
}
