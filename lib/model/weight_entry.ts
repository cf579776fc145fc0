/**
 * A tensor in a mapped file of weights, whatever the file's form.
 *
 * @module
 */
import type { MappedFile } from "../ffi/memory.ts";
import type { SafetensorsDtype, TensorEntry } from "./safetensors.ts";

/** Rows of a matrix, or elements of a vector, in another order than kernels take them. */
export interface RowPairs {
  /**
   * Rows of a head: those that are rotated together lie side by side, 0, D / 2, 1, D / 2 + 1 and so
   * on.
   */
  readonly headDim: number;
}

/** A tensor in a mapped file. */
export interface WeightEntry extends Omit<TensorEntry, "dtype"> {
  /** Q8_0: blocks of 32 elements, a scale in f16 and a byte for each. */
  readonly dtype: SafetensorsDtype | "Q8_0";
  /** Absent where the rows are in the order that kernels take. */
  readonly rowPairs?: RowPairs;
  /** The file, for error messages. */
  readonly path: string;
  /** The address of its first byte; valid until the files are disposed. */
  readonly address: bigint;
  /** The mapping that it lies in. */
  readonly file: MappedFile;
}
