/**
 * Memory for a foreign library that may read and write it at any time until the process ends, as MPI
 * does with the buffers of an operation that was given up.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import { type Bytes, createSharedMemory } from "../ffi/memory.ts";

/** Mapped memory that is never given back. */
export interface Arena {
  readonly address: bigint;
  readonly bytes: Bytes;
}

/**
 * Maps memory, all zeros.
 *
 * @throws {DeviceError} If there is not enough memory.
 */
export function allocateArena(byteLength: number): Arena {
  const { memory, release } = createSharedMemory("starx-mpi", Math.max(1, byteLength));
  // Without its descriptor nobody else finds the memory; the mapping stays.
  release();
  invariant(memory.pointer !== 0n, "a mapping has an address");
  return { address: memory.pointer, bytes: memory.bytes };
}
