/**
 * The checks that every op makes of its arguments before anything crosses into C.
 *
 * @module
 */
import type { Device, DType } from "../device/device.ts";
import { Fp8Matrix } from "../device/fp8_matrix.ts";
import { Int8Matrix, type Matrix } from "../device/int8_matrix.ts";
import { isScaled, segmentLayout } from "../device/kv_segment.ts";
import type { KvSegment, SegmentLayout } from "../device/kv_segment.ts";
import { shapeText } from "../device/shape.ts";
import type { Tensor } from "../device/tensor.ts";

/** What an op demands of one tensor. */
export interface Demand {
  /** The dtypes that the op has code for. */
  readonly dtypes: readonly DType[];
  /** Its extents. */
  readonly shape: readonly number[];
  /** Whether rows may lie apart; by default not. */
  readonly strided?: boolean;
}

/** The dtypes of activations and weights. */
export const F32: readonly DType[] = ["f32"];
export const I32: readonly DType[] = ["i32"];
export const F32_OR_BF16: readonly DType[] = ["f32", "bf16"];
/** Rows that were rounded, each with a scale. */
export const F8: readonly DType[] = ["f8e4m3"];
export const FLOATS: readonly DType[] = ["f32", "bf16", "f16"];

/** Checks the arguments of one call of one op. */
export class OpCheck {
  readonly #device: Device;
  readonly #op: string;

  /** @param op The TypeScript name, for messages. */
  constructor(device: Device, op: string) {
    this.#device = device;
    this.#op = op;
  }

  /**
   * Checks a tensor that the op reads.
   *
   * @returns Its address.
   * @throws {TypeError} If the device, dtype or rank is wrong, rows lie apart, or it is disposed.
   * @throws {RangeError} If an extent is wrong.
   */
  input(name: string, tensor: Tensor, demand: Demand): bigint {
    if (tensor.device !== this.#device) {
      throw new TypeError(`Cannot run ${this.#op} as '${name}' must be on the op's device`);
    }
    if (!demand.dtypes.includes(tensor.dtype)) {
      this.#fail(TypeError, { name, rule: `be ${demand.dtypes.join(" or ")}`, tensor });
    }
    if (tensor.shape.length !== demand.shape.length) {
      this.#fail(TypeError, { name, rule: `have shape ${shapeText(demand.shape)}`, tensor });
    }
    if (tensor.shape.some((extent, i) => extent !== demand.shape[i])) {
      this.#fail(RangeError, { name, rule: `have shape ${shapeText(demand.shape)}`, tensor });
    }
    if (demand.strided !== true && !tensor.contiguous) {
      this.#fail(TypeError, { name, rule: "be contiguous", tensor });
    }
    return tensor.address;
  }

  /** As `input()`, for a tensor that the op writes. @throws {TypeError} If it is read-only. */
  output(name: string, tensor: Tensor, demand: Demand): bigint {
    const address = this.input(name, tensor, demand);
    if (!tensor.writable) this.#fail(TypeError, { name, rule: "be writable", tensor });
    return address;
  }

  /** The extent of a vector. @throws {TypeError} If the rank is another. */
  vector(name: string, tensor: Tensor): number {
    const [count] = tensor.shape;
    if (tensor.shape.length !== 1 || count === undefined) return this.#failRank(name, tensor, 1);
    return count;
  }

  /** The extents of a matrix. @throws {TypeError} If the rank is another. */
  matrix(name: string, tensor: Tensor): readonly [number, number] {
    const [rows, columns] = tensor.shape;
    if (tensor.shape.length !== 2 || rows === undefined || columns === undefined) {
      return this.#failRank(name, tensor, 2);
    }
    return [rows, columns];
  }

  /** The extents of a tensor of three dimensions. @throws {TypeError} If the rank is another. */
  cube(name: string, tensor: Tensor): readonly [number, number, number] {
    const [first, second, third] = tensor.shape;
    if (
      tensor.shape.length !== 3 || first === undefined || second === undefined ||
      third === undefined
    ) {
      return this.#failRank(name, tensor, 3);
    }
    return [first, second, third];
  }

  /**
   * Checks a segment of keys and values.
   *
   * @param options `scaled`: whether the op reads 8 bits and their scales, too.
   * @returns Its addresses and strides.
   * @throws {TypeError} As `segmentLayout()`, or if it is on another device.
   * @throws {RangeError} As `segmentLayout()`.
   */
  segment(name: string, segment: KvSegment, options?: { scaled: boolean }): SegmentLayout {
    if (isScaled(segment.keys.dtype) && options?.scaled !== true) {
      this.#fail(TypeError, { name, rule: "be bf16 or f32", tensor: segment.keys });
    }
    if (segment.keys.device !== this.#device || segment.values.device !== this.#device) {
      throw new TypeError(`Cannot run ${this.#op} as '${name}' must be on the op's device`);
    }
    return segmentLayout(segment, name);
  }

  /**
   * Checks that the device's attention takes a segment's dtype.
   *
   * @param options As of `segment()`.
   * @throws {TypeError} If not.
   */
  cacheDtype(name: string, segment: KvSegment, options?: { scaled: boolean }): void {
    const { cacheDtypes } = this.#device;
    const taken = cacheDtypes.filter((dtype) => options?.scaled === true || !isScaled(dtype));
    const { keys: tensor } = segment;
    if (!taken.includes(tensor.dtype)) {
      this.#fail(TypeError, { name, rule: `be ${taken.join(" or ")}`, tensor });
    }
  }

  /** Checks a whole number. @throws {RangeError} If it is none, or out of its range. */
  integer(name: string, value: number, range: { min: number; max?: number }): number {
    const { min, max = Number.MAX_SAFE_INTEGER } = range;
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      const most = range.max === undefined ? "" : ` and at most ${max}`;
      throw new RangeError(
        `Cannot run ${this.#op} as '${name}' must be a whole number, at least ${min}${most}: ` +
          `current value is ${value}`,
      );
    }
    return value;
  }

  /** Checks that a rule holds for extents. @throws {RangeError} If it does not. */
  extent(holds: boolean, rule: string, current: string | number): void {
    if (!holds) {
      throw new RangeError(`Cannot run ${this.#op} as ${rule}: current value is ${current}`);
    }
  }

  /** Checks a factor. @throws {RangeError} If it is not finite. */
  finite(name: string, value: number): number {
    this.extent(Number.isFinite(value), `'${name}' must be finite`, value);
    return value;
  }

  #fail(
    errorClass: typeof TypeError | typeof RangeError,
    fault: { name: string; rule: string; tensor: Tensor },
  ): never {
    const { name, rule, tensor } = fault;
    throw new errorClass(
      `Cannot run ${this.#op} as '${name}' must ${rule}: current value is ${tensorText(tensor)}`,
    );
  }

  #failRank(name: string, tensor: Tensor, rank: number): never {
    const rule = `have ${rank} dimension${rank === 1 ? "" : "s"}`;
    return this.#fail(TypeError, { name, rule, tensor });
  }
}

/** The text of shapes for an error, made only when it is needed. */
export function shapesOf(tensors: Readonly<Record<string, Matrix | undefined>>): () => string {
  return () =>
    Object.entries(tensors)
      .flatMap(([name, tensor]) => tensor === undefined ? [] : [`${name} ${tensorText(tensor)}`])
      .join(", ");
}

/** The bytes that an op moves, from its tensors. */
export function bytesOf(...tensors: readonly (Tensor | undefined)[]): number {
  return tensors.reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0);
}

function tensorText(tensor: Matrix): string {
  if (tensor instanceof Int8Matrix) return `${shapeText(tensor.shape)} in 8 bits`;
  if (tensor instanceof Fp8Matrix) return `${shapeText(tensor.shape)} in e4m3`;
  const apart = tensor.contiguous ? "" : ` with row stride ${tensor.rowStride}`;
  return `${shapeText(tensor.shape)} ${tensor.dtype}${apart}`;
}
