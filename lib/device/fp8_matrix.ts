/**
 * A matrix in e4m3: a code of 8 bits for each number, and a scale for each row.
 *
 * @module
 */
import type { Device } from "./device.ts";
import { Tensor } from "./tensor.ts";

/** What a new matrix is to be. */
export interface Fp8MatrixOptions {
  readonly shape: readonly [number, number];
  /** What it holds, for messages. */
  readonly label: string;
}

/** The tensors that a matrix of some size consists of. */
export function fp8Parts(
  { shape, label }: Fp8MatrixOptions,
): {
  readonly codes: { dtype: "f8e4m3"; shape: readonly number[]; label: string };
  readonly scales: { dtype: "f32"; shape: readonly number[]; label: string };
} {
  const [rows] = shape;
  return {
    codes: { dtype: "f8e4m3", shape, label },
    scales: { dtype: "f32", shape: [rows], label: `scales of ${label}` },
  };
}

/** Rows of codes with their scales; a view of two tensors. */
export class Fp8Matrix {
  readonly shape: readonly [number, number];
  /** [rows, columns] f8e4m3, contiguous. */
  readonly codes: Tensor;
  /** [rows] f32: what a row's numbers are times. */
  readonly scales: Tensor;

  /** @throws {RangeError} If the tensors do not have the extents of one matrix. */
  constructor(parts: { codes: Tensor; scales: Tensor }) {
    const { codes, scales } = parts;
    const [rows = -1, columns = -1] = codes.shape;
    this.shape = [rows, columns];
    const expected = fp8Parts({ shape: this.shape, label: codes.label });
    for (const [found, wanted] of [[codes, expected.codes], [scales, expected.scales]] as const) {
      if (found.dtype === wanted.dtype && String(found.shape) === String(wanted.shape)) continue;
      throw new RangeError(
        `Cannot use tensor '${found.label}' as it must be ${wanted.dtype} ` +
          `[${wanted.shape.join(", ")}]: current value is ${found.dtype} [${
            found.shape.join(", ")
          }]`,
      );
    }
    this.codes = codes;
    this.scales = scales;
  }

  /**
   * A matrix in memory of its own, all zeros.
   *
   * @param owned Disposes of it.
   * @throws {KernelError} If there is not enough memory.
   */
  static allocate(device: Device, options: Fp8MatrixOptions, owned: DisposableStack): Fp8Matrix {
    const { codes, scales } = fp8Parts(options);
    return new Fp8Matrix({
      codes: owned.use(Tensor.allocate(device, codes)),
      scales: owned.use(Tensor.allocate(device, scales)),
    });
  }

  /** What it holds, for messages. */
  get label(): string {
    return this.codes.label;
  }

  /** Bytes of codes and scales. */
  get byteLength(): number {
    return this.codes.byteLength + this.scales.byteLength;
  }

  /**
   * Some consecutive rows: a view.
   *
   * @param start The first one. @param count How many; may be 0.
   * @throws {RangeError} If they are not all there.
   */
  rows(start: number, count: number): Fp8Matrix {
    return new Fp8Matrix({
      codes: this.codes.rows(start, count),
      scales: this.scales.rows(start, count),
    });
  }
}
