/**
 * The collective of a run with one rank: copies.
 *
 * @module
 */
import {
  AbortedError,
  type BroadcastOptions,
  checkGatherLengths,
  checkRoot,
  checkTimeout,
  closedError,
  type Collective,
  type CollectiveOptions,
} from "./collective.ts";

/** A group of one. */
export class SelfCollective implements Collective {
  readonly rank = 0;
  readonly size = 1;
  #closed = false;
  #aborted: string | undefined;

  // deno-lint-ignore require-await -- the interface promises rejections, not throws
  async allGather(part: Uint8Array, out: Uint8Array, options?: CollectiveOptions): Promise<void> {
    this.#check("an all-gather", options);
    checkGatherLengths(part, out, { size: 1 });
    out.set(part);
  }

  // deno-lint-ignore require-await -- as above
  async broadcast(_data: Uint8Array, options: BroadcastOptions): Promise<void> {
    this.#check("a broadcast", options);
    checkRoot(options.root, { size: 1 });
  }

  // deno-lint-ignore require-await -- as above
  async barrier(options?: CollectiveOptions): Promise<void> {
    this.#check("a barrier", options);
  }

  abort(reason: string): void {
    this.#aborted ??= reason;
  }

  close(): void {
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(operation: string, options: CollectiveOptions | undefined): void {
    if (this.#closed) throw closedError(operation);
    if (options?.timeoutMs !== undefined) checkTimeout(options.timeoutMs);
    if (this.#aborted !== undefined) {
      throw new AbortedError(`Rank 0 ended the run: ${this.#aborted}`, {
        rank: 0,
        phase: "unknown",
      });
    }
  }
}
