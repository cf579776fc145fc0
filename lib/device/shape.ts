/**
 * Sizes of tensors: checked products and their text form.
 *
 * @module
 */
import { type DType, DTYPE_BYTES } from "./device.ts";

/** A shape as messages show it, for example `[128, 64]`. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** Elements per index of the first dimension, without gaps. */
export function rowElements(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, dimension) => product * dimension, 1);
}

/**
 * Bytes of a contiguous tensor.
 *
 * @throws {TypeError} If it has no dimension.
 * @throws {RangeError} If a dimension is no size, or the bytes are no exact number.
 */
export function tensorByteLength(
  tensor: { dtype: DType; shape: readonly number[]; label: string },
): number {
  const { dtype, shape, label } = tensor;
  if (shape.length === 0) {
    throw new TypeError(`Cannot make tensor '${label}' as it must have a dimension`);
  }
  // Dimensions of a tensor with a 0 are multiplied too, so that no view of it can overflow.
  let bytes = DTYPE_BYTES[dtype];
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new RangeError(
        `Cannot make tensor '${label}' as each dimension must be a whole number, at least 0: ` +
          `current value is ${shapeText(shape)}`,
      );
    }
    bytes *= Math.max(dimension, 1);
  }
  if (!Number.isSafeInteger(bytes)) {
    throw new RangeError(
      `Cannot make tensor '${label}' as it must have less than 2^53 bytes: ` +
        `current value is ${shapeText(shape)} ${dtype}`,
    );
  }
  return shape.includes(0) ? 0 : bytes;
}
