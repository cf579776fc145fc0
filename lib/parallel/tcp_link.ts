/**
 * One TCP connection between two ranks: frames in both directions, with a limit on each.
 *
 * A frame is the length of what follows (32 bits, little-endian), a byte for its kind, and a body.
 *
 * @module
 */

/** What a frame is; the value travels. */
export const FRAME = {
  challenge: 1,
  answer: 2,
  proof: 3,
  refusal: 4,
  welcome: 5,
  report: 6,
  part: 7,
  whole: 8,
  disagreement: 9,
  farewell: 10,
} as const;

/** A frame that has come. */
export interface Frame {
  readonly kind: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

const HEAD_BYTES = 5;
/** Short frames are read many at once. */
const BUFFER_BYTES = 1 << 16;

/** A connection; one reader at a time, any number of senders. */
export class Link {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #end = 0;
  /** Frames in order, and reports of which only each rank's last one matters. */
  readonly #frames: Uint8Array[] = [];
  readonly #reports = new Map<number, Uint8Array>();
  #writing: Promise<void> | undefined;
  #isClosed = false;

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
    // An exchange waits for each of its small frames.
    connection.setNoDelay(true);
  }

  /** The other end, for people. */
  get peer(): string {
    const { hostname, port } = this.#connection.remoteAddr;
    return addressText(hostname, port);
  }

  /**
   * The next frame.
   *
   * @param maxBytes The longest body.
   * @returns Undefined at the end of the connection, however it came.
   * @throws {SyntaxError} If a frame is longer than it may be.
   */
  async read(maxBytes: number): Promise<Frame | undefined> {
    if (!await this.#fill(HEAD_BYTES)) return undefined;
    const head = new DataView(this.#buffer.buffer, this.#start, HEAD_BYTES);
    const length = head.getUint32(0, true);
    const kind = head.getUint8(4);
    if (length < 1 || length - 1 > maxBytes) {
      throw new SyntaxError(
        `Cannot read a frame as its length must be from 1 to ${maxBytes + 1}: ` +
          `current value is ${length}`,
      );
    }
    this.#start += HEAD_BYTES;
    const body = new Uint8Array(length - 1);
    const have = Math.min(body.length, this.#end - this.#start);
    body.set(this.#buffer.subarray(this.#start, this.#start + have));
    this.#start += have;
    for (let filled = have; filled < body.length;) {
      const count = await this.#read(body.subarray(filled));
      if (count === undefined) return undefined;
      filled += count;
    }
    return { kind, body };
  }

  /** Sends a frame after those before it; the parts are copied. */
  send(kind: number, ...parts: readonly Uint8Array[]): void {
    this.#frames.push(makeFrame(kind, parts));
    this.#flush();
  }

  /** Sends a report of a rank; a later one takes the place of one that has not gone yet. */
  sendReport(rank: number, body: Uint8Array): void {
    this.#reports.set(rank, makeFrame(FRAME.report, [body]));
    this.#flush();
  }

  /** Resolves when all that was to be sent is with the system, or the connection has ended. */
  async sent(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  /** Ends the connection; what was not sent is lost. A second call does nothing. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
  }

  #flush(): void {
    this.#writing ??= this.#write().finally(() => this.#writing = undefined);
  }

  async #write(): Promise<void> {
    for (let next = this.#shift(); next !== undefined; next = this.#shift()) {
      try {
        for (let sent = 0; sent < next.length && !this.#isClosed;) {
          sent += await this.#connection.write(next.subarray(sent));
        }
      } catch {
        // Whoever reads sees the end of the connection, too, and knows what it means.
        this.#frames.length = 0;
        this.#reports.clear();
      }
    }
  }

  #shift(): Uint8Array | undefined {
    if (this.#isClosed) return undefined;
    const frame = this.#frames.shift();
    if (frame !== undefined) return frame;
    const [first] = this.#reports;
    if (first === undefined) return undefined;
    const [rank, report] = first;
    this.#reports.delete(rank);
    return report;
  }

  /** Whether so many bytes are in the buffer; reads until they are. */
  async #fill(count: number): Promise<boolean> {
    while (this.#end - this.#start < count) {
      if (this.#start > 0) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
        this.#end -= this.#start;
        this.#start = 0;
      }
      const read = await this.#read(this.#buffer.subarray(this.#end));
      if (read === undefined) return false;
      this.#end += read;
    }
    return true;
  }

  async #read(into: Uint8Array<ArrayBuffer>): Promise<number | undefined> {
    try {
      return await this.#connection.read(into) ?? undefined;
    } catch {
      // Reset, timed out or closed here: in any case nothing more comes.
      return undefined;
    }
  }
}

/** An address for people, `[::1]:29500`. */
export function addressText(hostname: string, port: number): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

function makeFrame(kind: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = 1 + parts.reduce((sum, part) => sum + part.byteLength, 0);
  const frame = new Uint8Array(4 + length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, length, true);
  view.setUint8(4, kind);
  let offset = HEAD_BYTES;
  for (const part of parts) {
    frame.set(part, offset);
    offset += part.byteLength;
  }
  return frame;
}
