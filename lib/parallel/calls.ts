/**
 * What ranks call when they exchange bytes, and what is said when they have not called the same.
 *
 * @module
 */

/** What a rank calls; it must be equal on all ranks, `detail`, too. */
export interface Call {
  /** The index of `OPERATIONS`. */
  readonly operation: number;
  /** The length of a rank's data. */
  readonly byteLength: number;
  readonly detail: number;
}

/** For people; the index travels. */
const OPERATIONS = ["none", "a barrier", "an all-gather", "a broadcast"] as const;
/** Indexes of `OPERATIONS`. */
export const BARRIER = 1;
/** See `BARRIER`. */
export const ALL_GATHER = 2;
/** See `BARRIER`. */
export const BROADCAST = 3;

/** Whether two ranks call the same. */
export function isSameCall(a: Call, b: Call): boolean {
  return a.operation === b.operation && a.byteLength === b.byteLength && a.detail === b.detail;
}

/** What is wrong when two ranks have not called the same. */
export function disagreementText(
  own: { readonly rank: number; readonly call: Call },
  other: { readonly rank: number; readonly call: Call },
): string {
  return `Cannot exchange as all ranks must call the same: rank ${own.rank} calls ` +
    `${callText(own.call)}, rank ${other.rank} ${callText(other.call)}`;
}

function callText({ operation, byteLength }: Call): string {
  return `${OPERATIONS[operation] ?? "an unknown operation"} of ${byteLength} bytes`;
}
