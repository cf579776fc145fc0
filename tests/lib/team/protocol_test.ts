/**
 * Messages between the parent and its ranks, and their frames.
 *
 * @module
 */
import { AbortedError } from "../../../lib/parallel/collective.ts";
import {
  DeviceError,
  FileError,
  InvariantError,
  KernelError,
  RequestError,
  UsageError,
  WorkerError,
} from "../../../lib/errors.ts";
import {
  decodeInt32,
  encodeInt32,
  type Message,
  parseMessage,
  PROTOCOL_VERSION,
  recordError,
  restoreError,
} from "../../../lib/team/protocol.ts";
import { encodeFrame, readMessages } from "../../../lib/team/transport.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../../helpers/assert.ts";

const MESSAGES: Message[] = [
  { kind: "joined", version: PROTOCOL_VERSION },
  { kind: "init", body: { model: "käse", layers: [1, 2, 3] } },
  { kind: "request", id: 7, body: { text: "x".repeat(70_000) } },
  { kind: "cancel", id: 7 },
  { kind: "result", id: 7, body: null },
  { kind: "refused", id: 8, error: { name: "RequestError", message: "empty" } },
  { kind: "dropped", id: 9 },
  { kind: "error", error: { name: "FileError", message: "gone" } },
];

function streamOf(bytes: Uint8Array, chunkBytes: number): ReadableStream<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let i = 0; i < bytes.length; i += chunkBytes) chunks.push(bytes.subarray(i, i + chunkBytes));
  return ReadableStream.from(chunks);
}

function concat(frames: Uint8Array[]): Uint8Array {
  return new Uint8Array(frames.flatMap((frame) => [...frame]));
}

async function readAll(
  stream: ReadableStream<Uint8Array>,
  options: { maxBytes?: number } = {},
): Promise<Message[]> {
  return await Array.fromAsync(readMessages(stream, options));
}

Deno.test("readMessages() gives what encodeFrame() wrote, however it is cut", async () => {
  const bytes = concat(MESSAGES.map((message) => encodeFrame(message)));
  for (const chunkBytes of [1, 3, 4, 5, 1000, 65_536, bytes.length]) {
    assertEquals(await readAll(streamOf(bytes, chunkBytes)), MESSAGES);
  }
});

Deno.test("readMessages() throws if a frame has a wrong length, is cut off or is no JSON", async () => {
  const frame = encodeFrame({ kind: "joined", version: 1 });
  const limits = "Cannot read a frame as its length must be at least 1 and at most 100: ";
  const cases: [Uint8Array, string][] = [
    [new Uint8Array([0, 0, 0, 0]), `${limits}current value is 0`],
    [new Uint8Array([101, 0, 0, 0]), `${limits}current value is 101`],
    [new Uint8Array([255, 255, 255, 255]), `${limits}current value is 4294967295`],
    [frame.subarray(0, 9), "Cannot read a frame as it is cut off: 9 bytes are left"],
    [frame.subarray(0, 2), "Cannot read a frame as it is cut off: 2 bytes are left"],
    [new Uint8Array([2, 0, 0, 0, 123, 93]), "Cannot read a frame as it is no JSON: "],
    [new Uint8Array([1, 0, 0, 0, 255]), "Cannot read a frame as it is no JSON: "],
  ];
  for (const [bytes, message] of cases) {
    await assertRejects(
      () => readAll(streamOf(bytes, 3), { maxBytes: 100 }),
      SyntaxError,
      message,
    );
  }
});

Deno.test("encodeFrame() throws if the message is too long", () => {
  assertThrows(
    () => encodeFrame({ kind: "init", body: "x".repeat(100) }, { maxBytes: 100 }),
    RangeError,
    "Cannot send a message as it must have at most 100 bytes: current value is 125",
  );
});

Deno.test("parseMessage() throws if the version, the kind or a field is wrong", () => {
  const cases: [unknown, string][] = [
    [
      { kind: "joined", version: 1 },
      `Cannot talk to this process as its protocol version must be ${PROTOCOL_VERSION}: current value is 1`,
    ],
    [
      { kind: "joined" },
      `its protocol version must be ${PROTOCOL_VERSION}: current value is undefined`,
    ],
    [
      { kind: "hello", version: 0 },
      `its protocol version must be ${PROTOCOL_VERSION}: current value is 0`,
    ],
    [{ kind: "toString" }, "Cannot read a message as 'kind' is unknown: "],
    [[], "Cannot read a message as 'kind' is unknown: []"],
    [null, "Cannot read a message as 'kind' is unknown: null"],
    [{ kind: "refused", id: 7 }, "Cannot read a message as 'error' must be of type object: "],
    [{ kind: "result", id: "7" }, "Cannot read a message as 'id' must be of type number: "],
    [{ kind: "error", error: null }, "Cannot read a message as 'error' must be of type object: "],
    [{ kind: "error", error: {} }, "Cannot read a message as 'error' has no name: "],
    [
      { kind: "hello", version: PROTOCOL_VERSION, parentPid: 1, rank: 0, size: 1 },
      "Cannot read a message as 'memory' must be of type string: ",
    ],
  ];
  for (const [value, message] of cases) {
    assertThrows(() => parseMessage(value), SyntaxError, message);
  }
});

Deno.test("restoreError() gives an error of the same class and message", () => {
  const errors = [
    new UsageError("a"),
    new FileError("b"),
    new RequestError("b2"),
    new DeviceError("c"),
    new InvariantError("d"),
    new TypeError("e"),
    new RangeError("f"),
    new SyntaxError("g"),
    new Error("h"),
    new KernelError("i", { op: "sx_rope", status: "SX_BAD" }),
    new WorkerError("j", { rank: 3, phase: "phase 2" }),
    new AbortedError("k", { rank: 2, phase: "phase 1" }),
  ];
  for (const error of errors) {
    const restored = restoreError(JSON.parse(JSON.stringify(recordError(error))));
    assert(restored.constructor === error.constructor, `${restored.name} is no ${error.name}`);
    assertEquals([restored.name, restored.message], [error.name, error.message]);
    if (error instanceof WorkerError && restored instanceof WorkerError) {
      assertEquals([restored.rank, restored.phase], [error.rank, error.phase]);
    }
    if (error instanceof KernelError && restored instanceof KernelError) {
      assertEquals([restored.op, restored.status], [error.op, error.status]);
    }
  }
  assertEquals(restoreError(recordError("just text")).message, "just text");
});

Deno.test("decodeInt32() gives what encodeInt32() wrote", () => {
  const values = new Int32Array([0, 1, -1, 128_255, 2 ** 31 - 1, -(2 ** 31)]);
  assertEquals(decodeInt32(encodeInt32(values)), values);
  assertEquals(decodeInt32(encodeInt32(values.subarray(2, 4))), values.slice(2, 4));
  assertEquals(decodeInt32("").length, 0);
  assertThrows(
    () => decodeInt32("AAAA"),
    SyntaxError,
    "Cannot read integers as their bytes must be a multiple of 4: current value is 3",
  );
  assertThrows(() => decodeInt32("A?"), SyntaxError);
});
