/**
 * JSON values among the ranks of a collective.
 *
 * @module
 */
import type { Collective } from "../parallel/collective.ts";

/**
 * Gives all ranks a value of rank 0's.
 *
 * @param value Rank 0's; ignored elsewhere.
 * @throws {WorkerError} If a rank is lost.
 */
export async function broadcastJson(collective: Collective, value?: unknown): Promise<unknown> {
  const isRoot = collective.rank === 0;
  const text = new TextEncoder().encode(isRoot ? JSON.stringify(value) : "");
  const length = new Float64Array([text.byteLength]);
  await collective.broadcast(new Uint8Array(length.buffer), { root: 0 });
  const bytes = isRoot ? text : new Uint8Array(length[0] ?? 0);
  await collective.broadcast(bytes, { root: 0 });
  return JSON.parse(new TextDecoder().decode(bytes));
}

/**
 * Gives all ranks the values of all, in rank order.
 *
 * @throws {WorkerError} If a rank is lost.
 */
export async function gatherJson(collective: Collective, value: unknown): Promise<unknown[]> {
  const text = new TextEncoder().encode(JSON.stringify(value));
  const sizes = await gatherNumbers(collective, [text.byteLength]);
  const longest = Math.max(...sizes.map(([byteLength = 0]) => byteLength));
  const part = new Uint8Array(longest);
  part.set(text);
  const all = new Uint8Array(collective.size * longest);
  await collective.allGather(part, all);
  return sizes.map(([byteLength = 0], rank) => {
    const start = rank * longest;
    return JSON.parse(new TextDecoder().decode(all.subarray(start, start + byteLength)));
  });
}

/**
 * Gives all ranks some numbers of all, in rank order; equally many on every rank.
 *
 * @throws {WorkerError} If a rank is lost.
 */
export async function gatherNumbers(
  collective: Collective,
  own: readonly number[],
): Promise<number[][]> {
  const part = Float64Array.from(own);
  const all = new Float64Array(collective.size * own.length);
  await collective.allGather(new Uint8Array(part.buffer), new Uint8Array(all.buffer));
  return Array.from(
    { length: collective.size },
    (_, rank) => [...all.subarray(rank * own.length, (rank + 1) * own.length)],
  );
}
