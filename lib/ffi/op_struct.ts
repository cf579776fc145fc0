/**
 * What an op takes, in memory that C can read.
 *
 * @module
 */
import { type OpParams, PARAM_BYTES } from "./op_params.ts";
import { PARAM_WRITERS } from "./param_structs.ts";
import { StructMemory } from "./struct_views.ts";
import type { OpName } from "./symbols.ts";

/** Large enough for the structure of any op. */
const MAX_BYTES = Math.max(...Object.values(PARAM_BYTES));

/** Memory for the structures of one call after the other: a call that has returned has read its own. */
export class OpScratch {
  readonly #memory = new StructMemory(MAX_BYTES);

  /** Writes what a call takes. @returns Its address, until the next call is written. */
  write<K extends OpName>(op: K, params: OpParams[K]): bigint {
    PARAM_WRITERS[op](this.#memory, params);
    return this.#memory.address;
  }
}

/** What one call takes, for calls that are made later or again; must be referenced until they end. */
export class OpStruct {
  readonly #memory: StructMemory;

  constructor(memory: StructMemory) {
    this.#memory = memory;
  }

  /** Writes what a call takes to memory of its own. */
  static of<K extends OpName>(op: K, params: OpParams[K]): OpStruct {
    const memory = new StructMemory(PARAM_BYTES[op]);
    PARAM_WRITERS[op](memory, params);
    return new OpStruct(memory);
  }

  get address(): bigint {
    return this.#memory.address;
  }
}
