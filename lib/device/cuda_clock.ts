/**
 * The times of a GPU's ops: marks between them on the stream, read when the run is over.
 *
 * A mark costs the stream about a microsecond, and no op is waited for.
 *
 * @module
 */
import type { CudaRuntime } from "../ffi/cudart.ts";
import type { OpClock } from "./device.ts";

/** The marks of one stream; their events are kept for the next run. */
export class CudaClock implements OpClock, Disposable {
  readonly #runtime: CudaRuntime;
  readonly #stream: bigint;
  readonly #events: bigint[] = [];
  #count = 0;

  constructor(runtime: CudaRuntime, stream: bigint) {
    this.#runtime = runtime;
    this.#stream = stream;
  }

  mark(): number {
    const number = this.#count;
    const event = this.#events[number] ?? this.#runtime.createEvent("timed");
    this.#events[number] = event;
    this.#runtime.recordEvent(event, this.#stream);
    this.#count++;
    return number;
  }

  async read(): Promise<Float64Array> {
    const events = this.#events.slice(0, this.#count);
    this.#count = 0;
    const last = events.at(-1);
    if (last !== undefined) await this.#runtime.waitForEvent(last);
    return Float64Array.from(
      events.slice(1),
      (event, i) => this.#runtime.elapsedMs(events[i] ?? event, event),
    );
  }

  [Symbol.dispose](): void {
    for (const event of this.#events) this.#runtime.destroyEvent(event);
    this.#events.length = 0;
    this.#count = 0;
  }
}
