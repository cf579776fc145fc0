/** Streams of `serve`: what a client hears while nothing is generated yet. */

import { type EventSink, eventStream } from "../../commands/serve/event_stream.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";

const COMMENT = ": waiting\n\n";
/** Longer than any test: no comment comes. */
const NEVER_MS = 2 ** 30;

/** A stream whose producer waits to be told, and what it wrote so far. */
function heldStream(quietMs: number) {
  const goes = Promise.withResolvers<void>();
  let cancelled = 0;
  const produce = async (sink: EventSink) => {
    await goes.promise;
    sink.send({ text: "42" });
  };
  const answer = eventStream(produce, () => void cancelled++, quietMs);
  return { answer, goes, cancelled: () => cancelled };
}

Deno.test("a long silence is broken by comments, in front of all events", async () => {
  const { answer, goes } = heldStream(1);
  const response = await answer;
  assertEquals(response.status, 200);
  assert(response.body !== null);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals(await reader.read(), { done: false, value: COMMENT });
  assertEquals(await reader.read(), { done: false, value: COMMENT });
  goes.resolve();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
  assertEquals(rest.replaceAll(COMMENT, ""), 'data: {"text":"42"}\n\ndata: [DONE]\n\n');
});

Deno.test("an answer that comes soon has no comments", async () => {
  const { answer, goes, cancelled } = heldStream(NEVER_MS);
  goes.resolve();
  assertEquals(await (await answer).text(), 'data: {"text":"42"}\n\ndata: [DONE]\n\n');
  assertEquals(cancelled(), 1);
});

Deno.test("what fails before a comment is an error, what fails behind it breaks the stream", async () => {
  const soon = heldStream(NEVER_MS);
  soon.goes.reject(new RangeError("too long"));
  await assertRejects(() => soon.answer, RangeError, "too long");
  const late = heldStream(1);
  const response = await late.answer;
  late.goes.reject(new RangeError("too long"));
  await assertRejects(() => response.text(), RangeError, "too long");
});

Deno.test("a client that goes while it waits ends the call and the comments", async () => {
  const { answer, goes, cancelled } = heldStream(1);
  await (await answer).body?.cancel();
  assertEquals(cancelled(), 1);
  goes.resolve();
  // The timer is checked by the test runner: one that still ran would be a leak.
  await Promise.resolve();
});
