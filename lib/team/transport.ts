/**
 * Messages over byte streams: a frame is the length of the text (32 bits, little-endian) and JSON.
 *
 * @module
 */
import { errorText, RequestError } from "../errors.ts";
import { type Message, parseMessage } from "./protocol.ts";

/** The longest text: ten million tokens in base64 need 54 MB. */
const MAX_FRAME_BYTES = 256 * 2 ** 20;

const LENGTH_BYTES = 4;

/**
 * A message as it goes over a pipe.
 *
 * @throws {RequestError} If it is longer than a frame may be.
 */
export function encodeFrame(
  message: Message,
  options: { maxBytes?: number } = {},
): Uint8Array<ArrayBuffer> {
  const maxBytes = options.maxBytes ?? MAX_FRAME_BYTES;
  const text = new TextEncoder().encode(JSON.stringify(message));
  if (text.byteLength > maxBytes) {
    throw new RequestError(
      `Cannot send a message as it must have at most ${maxBytes} bytes: ` +
        `current value is ${text.byteLength}`,
    );
  }
  const frame = new Uint8Array(LENGTH_BYTES + text.byteLength);
  new DataView(frame.buffer).setUint32(0, text.byteLength, true);
  frame.set(text, LENGTH_BYTES);
  return frame;
}

/**
 * The messages of a stream.
 *
 * @param stream Read to its end, or cancelled when the caller stops.
 * @param options.maxBytes The longest frame.
 * @throws {SyntaxError} If a frame has a wrong length, is cut off, or is no message.
 */
export async function* readMessages(
  stream: ReadableStream<Uint8Array>,
  options: { maxBytes?: number } = {},
): AsyncGenerator<Message, void, void> {
  const maxBytes = options.maxBytes ?? MAX_FRAME_BYTES;
  const buffer = new FrameBuffer(maxBytes);
  for await (const chunk of stream) {
    buffer.push(chunk);
    for (let frame = buffer.shift(); frame !== undefined; frame = buffer.shift()) {
      yield parseFrame(frame);
    }
  }
  if (buffer.byteLength > 0) {
    throw new SyntaxError(
      `Cannot read a frame as it is cut off: ${buffer.byteLength} bytes are left`,
    );
  }
}

/** Chunks on their way to frames; a frame's chunks are joined once, when the last one is there. */
class FrameBuffer {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  /** The bytes that wait. */
  byteLength = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.byteLength += chunk.byteLength;
  }

  /** The text of the next frame, if it is complete. */
  shift(): Uint8Array | undefined {
    if (this.byteLength < LENGTH_BYTES) return undefined;
    const head = this.#peek();
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
    const length = view.getUint32(0, true);
    if (length === 0 || length > this.#maxBytes) {
      throw new SyntaxError(
        `Cannot read a frame as its length must be at least 1 and at most ${this.#maxBytes}: ` +
          `current value is ${length}`,
      );
    }
    const end = LENGTH_BYTES + length;
    if (this.byteLength < end) return undefined;
    const all = this.#join();
    this.#chunks = all.byteLength === end ? [] : [all.subarray(end)];
    this.byteLength -= end;
    return all.subarray(LENGTH_BYTES, end);
  }

  #peek(): Uint8Array {
    const first = this.#chunks[0];
    return first !== undefined && first.byteLength >= LENGTH_BYTES ? first : this.#join();
  }

  #join(): Uint8Array {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const all = new Uint8Array(this.byteLength);
    let offset = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, offset);
      offset += chunk.byteLength;
    }
    this.#chunks = [all];
    return all;
  }
}

function parseFrame(frame: Uint8Array): Message {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(frame));
  } catch (error) {
    throw new SyntaxError(`Cannot read a frame as it is no JSON: ${errorText(error)}`, {
      cause: error,
    });
  }
  return parseMessage(value);
}
