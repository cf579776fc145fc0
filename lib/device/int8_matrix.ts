/**
 * A matrix of weights in 8 bits: numbers in panels of rows, as `sx_matmul` takes them, and a scale for
 * each row.
 *
 * @module
 */
import { PANEL_DEPTH, PANEL_ROWS } from "../ffi/symbols.ts";
import type { Device } from "./device.ts";
import type { Fp8Matrix } from "./fp8_matrix.ts";
import { Tensor } from "./tensor.ts";

/** What a new matrix is to be. */
export interface Int8MatrixOptions {
  /** [outputs, inputs]. */
  readonly shape: readonly [number, number];
  /** What it holds, for messages. */
  readonly label: string;
}

/** The tensors that a matrix of some size consists of. */
export function int8Parts(
  { shape: [rows, columns], label }: Int8MatrixOptions,
): {
  readonly panels: { dtype: "i8"; shape: readonly number[]; label: string };
  readonly scales: { dtype: "f32"; shape: readonly number[]; label: string };
} {
  const depth = Math.ceil(columns / PANEL_DEPTH) * PANEL_DEPTH;
  const panels = Math.ceil(rows / PANEL_ROWS);
  return {
    panels: { dtype: "i8", shape: [panels, PANEL_ROWS * depth], label },
    scales: { dtype: "f32", shape: [rows], label: `scales of ${label}` },
  };
}

/** Rows of 8-bit numbers with their scales; a view of two tensors. */
export class Int8Matrix {
  /** [outputs, inputs]. */
  readonly shape: readonly [number, number];
  /** [panels, bytes of a panel] i8: `SX_PANEL_ROWS` in `kernels/sx_kernels.h`. */
  readonly panels: Tensor;
  /** [outputs] f32. */
  readonly scales: Tensor;

  /** @throws {RangeError} If the tensors do not have the extents of that shape. */
  constructor(parts: { shape: readonly [number, number]; panels: Tensor; scales: Tensor }) {
    const { shape, panels, scales } = parts;
    const expected = int8Parts({ shape, label: panels.label });
    for (
      const [found, { dtype, shape }] of [[panels, expected.panels], [
        scales,
        expected.scales,
      ]] as const
    ) {
      if (found.dtype === dtype && String(found.shape) === String(shape)) continue;
      throw new RangeError(
        `Cannot use tensor '${found.label}' as it must be ${dtype} [${shape.join(", ")}]: ` +
          `current value is ${found.dtype} [${found.shape.join(", ")}]`,
      );
    }
    this.shape = shape;
    this.panels = panels;
    this.scales = scales;
  }

  /**
   * A matrix in memory of its own, all zeros.
   *
   * @param owned Disposes of it.
   * @throws {KernelError} If there is not enough memory.
   */
  static allocate(device: Device, options: Int8MatrixOptions, owned: DisposableStack): Int8Matrix {
    const { panels, scales } = int8Parts(options);
    return new Int8Matrix({
      shape: options.shape,
      panels: owned.use(Tensor.allocate(device, panels)),
      scales: owned.use(Tensor.allocate(device, scales)),
    });
  }

  /** What it holds, for messages. */
  get label(): string {
    return this.panels.label;
  }

  /** Bytes of numbers and scales. */
  get byteLength(): number {
    return this.panels.byteLength + this.scales.byteLength;
  }

  /**
   * Some consecutive rows: a view.
   *
   * @param start The first one, a multiple of a panel's rows. @param count How many; may be 0.
   * @throws {RangeError} If they do not begin with a panel, or are not all there.
   */
  rows(start: number, count: number): Int8Matrix {
    if (start % PANEL_ROWS !== 0) {
      throw new RangeError(
        `Cannot take rows of '${this.label}' as the first one must be a multiple of ` +
          `${PANEL_ROWS}: current value is ${start}`,
      );
    }
    const scales = this.scales.rows(start, count);
    const panels = this.panels.rows(start / PANEL_ROWS, Math.ceil(count / PANEL_ROWS));
    return new Int8Matrix({ shape: [count, this.shape[1]], panels, scales });
  }
}

/** A matrix of weights, in floats or in 8 bits. */
export type Matrix = Tensor | Int8Matrix | Fp8Matrix;
