/**
 * A collective that outlives who uses it: closing ends the use, not the collective.
 *
 * @module
 */
import {
  type BroadcastOptions,
  closedError,
  type Collective,
  type CollectiveOptions,
} from "./collective.ts";

/** The same ranks as another collective's. */
export class BorrowedCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly #owner: Collective;
  #closed = false;

  constructor(owner: Collective) {
    this.#owner = owner;
    this.rank = owner.rank;
    this.size = owner.size;
  }

  async allGather(part: Uint8Array, out: Uint8Array, options?: CollectiveOptions): Promise<void> {
    this.#check("an all-gather");
    await this.#owner.allGather(part, out, options);
  }

  async broadcast(data: Uint8Array, options: BroadcastOptions): Promise<void> {
    this.#check("a broadcast");
    await this.#owner.broadcast(data, options);
  }

  async barrier(options?: CollectiveOptions): Promise<void> {
    this.#check("a barrier");
    await this.#owner.barrier(options);
  }

  abort(reason: string): void {
    if (!this.#closed) this.#owner.abort(reason);
  }

  close(): void {
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(operation: string): void {
    if (this.#closed) throw closedError(operation);
  }
}
