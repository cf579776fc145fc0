/**
 * Which pages of an arena are taken: runs of consecutive pages, the first free run that is long
 * enough, free neighbours as one.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";

/** Tokens of a page: a tile of block-sparse attention, so that no tile is split between sequences. */
export const PAGE_TOKENS = TILE_TOKENS;

/** Consecutive pages. */
export interface PageRun {
  readonly first: number;
  readonly count: number;
}

/** The pages that some tokens fill, the last one partly; at least one. */
export function pagesFor(tokens: number): number {
  return Math.max(1, Math.ceil(tokens / PAGE_TOKENS));
}

/** Deals out runs of pages. */
export class PageAllocator {
  #pageCount: number;
  /** In rising order, no two of them side by side. */
  #free: PageRun[];

  constructor(pageCount: number) {
    this.#pageCount = pageCount;
    this.#free = pageCount === 0 ? [] : [{ first: 0, count: pageCount }];
  }

  /** All pages, taken or not. */
  get pageCount(): number {
    return this.#pageCount;
  }

  /** Pages that nobody has. */
  get freeCount(): number {
    return this.#free.reduce((sum, { count }) => sum + count, 0);
  }

  /** How many pages must be added before a run of `count` pages can be taken; 0 if it can be now. */
  missing(count: number): number {
    if (this.#free.some((run) => run.count >= count)) return 0;
    const last = this.#free.at(-1);
    const isAtEnd = last !== undefined && last.first + last.count === this.#pageCount;
    return count - (isAtEnd ? last.count : 0);
  }

  /** One with the same pages, which changes nothing here. */
  copy(): PageAllocator {
    const other = new PageAllocator(this.#pageCount);
    other.#free = [...this.#free];
    return other;
  }

  /** Takes the first run that is long enough; undefined if there is none. */
  take(count: number): PageRun | undefined {
    invariant(count >= 1, "a run has a page");
    const index = this.#free.findIndex((run) => run.count >= count);
    const run = this.#free[index];
    if (run === undefined) return undefined;
    const rest = { first: run.first + count, count: run.count - count };
    this.#free.splice(index, 1, ...(rest.count > 0 ? [rest] : []));
    return { first: run.first, count };
  }

  /** Takes a run back, which must have been dealt out. */
  give(run: PageRun): void {
    const index = this.#free.findIndex(({ first }) => first > run.first);
    const at = index < 0 ? this.#free.length : index;
    const [before, after] = [this.#free[at - 1], this.#free[at]];
    const end = run.first + run.count;
    invariant(
      end <= this.#pageCount &&
        (before === undefined || before.first + before.count <= run.first) &&
        (after === undefined || end <= after.first),
      "only pages that are taken can be given back",
    );
    const joinsBefore = before !== undefined && before.first + before.count === run.first;
    const joinsAfter = after !== undefined && end === after.first;
    const first = joinsBefore ? before.first : run.first;
    const count = run.count + (joinsBefore ? before.count : 0) + (joinsAfter ? after.count : 0);
    const start = joinsBefore ? at - 1 : at;
    this.#free.splice(start, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), { first, count });
  }

  /** Adds free pages behind the last one. */
  grow(count: number): void {
    const run = { first: this.#pageCount, count };
    this.#pageCount += count;
    this.give(run);
  }
}
