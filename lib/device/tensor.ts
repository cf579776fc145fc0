/**
 * Typed, shaped pieces of device memory and their views.
 *
 * A tensor's extent is checked against its memory when it is made, so that whatever an op is given
 * lies inside of an allocation. Rows (the first dimension) may lie apart, all else is contiguous.
 *
 * @module
 */
import type { Bytes } from "../ffi/memory.ts";
import { type Device, type DeviceMemory, type DType, DTYPE_BYTES } from "./device.ts";
import { elementsToFloats, floatsToElements, isFloatDType } from "./elements.ts";
import { type ForeignMemory, ForeignView } from "./foreign.ts";
import { rowElements, shapeText, tensorByteLength } from "./shape.ts";

/** What a new tensor is to be. */
export interface TensorOptions {
  readonly dtype: DType;
  /** Elements per dimension, at least one dimension; 0 is a size. */
  readonly shape: readonly number[];
  /** What it holds, for messages. */
  readonly label: string;
}

/** Where a tensor's elements lie. */
interface Layout extends TensorOptions {
  readonly memory: DeviceMemory;
  readonly byteOffset: number;
  readonly rowStride: number;
  readonly ownsMemory: boolean;
}

/** A tensor in the memory of a device. */
export class Tensor implements Disposable {
  readonly device: Device;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Elements from one row (index of the first dimension) to the next. */
  readonly rowStride: number;
  readonly label: string;
  readonly #memory: DeviceMemory;
  readonly #byteOffset: number;
  readonly #ownsMemory: boolean;
  #disposed = false;

  private constructor(device: Device, layout: Layout) {
    const { dtype, label, memory, byteOffset, rowStride } = layout;
    this.device = device;
    this.dtype = dtype;
    this.shape = Object.freeze([...layout.shape]);
    this.rowStride = rowStride;
    this.label = label;
    this.#memory = memory;
    this.#byteOffset = byteOffset;
    this.#ownsMemory = layout.ownsMemory;
    const end = byteOffset + this.#spanElements() * DTYPE_BYTES[dtype];
    if (!Number.isSafeInteger(end) || byteOffset < 0 || end > memory.byteLength) {
      throw new RangeError(
        `Cannot place tensor '${label}' as it must lie within the ${memory.byteLength} bytes of ` +
          `'${memory.label}': current value is ${byteOffset} to ${end}`,
      );
    }
  }

  /**
   * A zero-filled tensor that owns its memory.
   *
   * @throws {RangeError} If a dimension is no size or there are too many elements.
   * @throws {KernelError} If there is not enough memory.
   */
  static allocate(device: Device, options: TensorOptions): Tensor {
    const byteLength = tensorByteLength(options);
    const memory = device.allocate(byteLength, options.label);
    return new Tensor(device, {
      ...options,
      memory,
      byteOffset: 0,
      rowStride: rowElements(options.shape),
      ownsMemory: true,
    });
  }

  /**
   * A read-only view of memory that somebody else owns, without a copy; CPU only.
   *
   * @param options `address`: of the first element; `keepAlive`: the memory that it lies in, which
   * must outlive the ops that read it. Use after its disposal throws.
   * @throws {RangeError} If the tensor is not inside that memory or not aligned to its elements.
   * @throws {TypeError} If the device has memory of its own.
   */
  static foreign(
    device: Device,
    options: TensorOptions & { readonly address: bigint; readonly keepAlive: ForeignMemory },
  ): Tensor {
    const { address, keepAlive, dtype, label } = options;
    if (!device.hasHostMemory) {
      throw new TypeError(
        `Cannot use tensor '${label}' in place as host memory must be device memory: ` +
          `current value is a ${device.kind} device`,
      );
    }
    tensorByteLength(options);
    if (address % BigInt(DTYPE_BYTES[dtype]) !== 0n) {
      throw new RangeError(
        `Cannot use tensor '${label}' in place as its address must be a multiple of ` +
          `${DTYPE_BYTES[dtype]}: current value is ${address}`,
      );
    }
    return new Tensor(device, {
      dtype,
      label,
      shape: options.shape,
      memory: new ForeignView(keepAlive, label),
      byteOffset: Number(address - keepAlive.pointer),
      rowStride: rowElements(options.shape),
      ownsMemory: false,
    });
  }

  /**
   * A contiguous tensor inside memory that somebody else disposes of.
   *
   * @throws {RangeError} If it is not inside.
   */
  static within(
    device: Device,
    options: TensorOptions & { readonly memory: DeviceMemory; readonly byteOffset: number },
  ): Tensor {
    tensorByteLength(options);
    const rowStride = rowElements(options.shape);
    return new Tensor(device, { ...options, rowStride, ownsMemory: false });
  }

  /** The number of elements. */
  get size(): number {
    return this.shape.reduce((product, dimension) => product * dimension, 1);
  }

  /** Bytes of all elements, gaps between rows not counted. */
  get byteLength(): number {
    return this.size * DTYPE_BYTES[this.dtype];
  }

  /** Whether rows follow each other without a gap. */
  get contiguous(): boolean {
    return (this.shape[0] ?? 0) <= 1 || this.rowStride === rowElements(this.shape) ||
      this.size === 0;
  }

  /** Whether ops may write into it. */
  get writable(): boolean {
    return this.#memory.writable;
  }

  /**
   * The device address of the first element; for ops only.
   *
   * @throws {TypeError} If the tensor or its memory is disposed of.
   * @internal
   */
  get address(): bigint {
    this.#check();
    return this.#memory.address + BigInt(this.#byteOffset);
  }

  /**
   * Some consecutive rows: a view.
   *
   * @param start The first one. @param count How many; may be 0.
   * @throws {RangeError} If they are not all there.
   */
  rows(start: number, count: number): Tensor {
    const rows = this.shape[0] ?? 0;
    this.#checkSlice("row", { start, count, limit: rows });
    return this.#view({
      shape: [count, ...this.shape.slice(1)],
      byteOffset: this.#byteOffset + start * this.rowStride * DTYPE_BYTES[this.dtype],
      rowStride: this.rowStride,
    });
  }

  /**
   * Some consecutive columns of a matrix: a view with gaps between its rows.
   *
   * @param start The first one. @param count How many; may be 0.
   * @throws {TypeError} If the tensor is no matrix.
   * @throws {RangeError} If they are not all there.
   */
  columns(start: number, count: number): Tensor {
    const [rows, columns] = this.shape;
    if (this.shape.length !== 2 || rows === undefined || columns === undefined) {
      throw new TypeError(
        `Cannot take columns of tensor '${this.label}' as it must have 2 dimensions: ` +
          `current value is ${shapeText(this.shape)}`,
      );
    }
    this.#checkSlice("column", { start, count, limit: columns });
    return this.#view({
      shape: [rows, count],
      byteOffset: this.#byteOffset + start * DTYPE_BYTES[this.dtype],
      rowStride: this.rowStride,
    });
  }

  /**
   * The same elements in another shape: a view. Rows that lie apart must stay the rows.
   *
   * @throws {RangeError} If the number of elements differs, or gaps are in the way.
   */
  reshape(shape: readonly number[]): Tensor {
    const size = tensorByteLength({ dtype: this.dtype, shape, label: this.label }) /
      DTYPE_BYTES[this.dtype];
    const keepsRows = shape[0] === this.shape[0];
    if (size !== this.size || !(this.contiguous || keepsRows)) {
      throw new RangeError(
        `Cannot reshape tensor '${this.label}' as ${shapeText(shape)} must have the elements of ` +
          `${shapeText(this.shape)}${this.contiguous ? "" : " and the same rows"}`,
      );
    }
    const rowStride = this.contiguous ? rowElements(shape) : this.rowStride;
    return this.#view({ shape, byteOffset: this.#byteOffset, rowStride });
  }

  /**
   * The bytes themselves, without a copy; only where device memory is host memory. Await the ops
   * that touch them first.
   *
   * @throws {TypeError} On other devices, if rows lie apart, or after disposal.
   */
  hostBytes(): Bytes {
    this.#check();
    if (!this.contiguous) {
      throw new TypeError(
        `Cannot view tensor '${this.label}' as its rows must be contiguous: ` +
          `current value is ${shapeText(this.shape)} with row stride ${this.rowStride}`,
      );
    }
    const bytes = this.#memory.bytes;
    return new Uint8Array(bytes.buffer, bytes.byteOffset + this.#byteOffset, this.byteLength);
  }

  /** As `hostBytes()`, for an i32 tensor. @throws {TypeError} If the dtype differs. */
  hostInts(): Int32Array<ArrayBuffer> {
    this.#checkType("i32");
    const bytes = this.hostBytes();
    return new Int32Array(bytes.buffer, bytes.byteOffset, this.size);
  }

  /**
   * Overwrites all elements.
   *
   * @param data As many values in row-major order: floats (rounded to the dtype) for f32, bf16,
   * f16; integers for i32; or the raw bytes, which i8 always gets.
   * @throws {TypeError} If the kind of numbers or the memory does not allow it.
   * @throws {RangeError} If the number of values differs.
   */
  async writeFrom(data: Float32Array | Int32Array | Uint8Array): Promise<void> {
    if (!this.writable) {
      throw new TypeError(`Cannot write tensor '${this.label}' as its memory is read-only`);
    }
    const bytes = this.#encode(data);
    if (bytes.byteLength !== this.byteLength) {
      throw new RangeError(
        `Cannot write tensor '${this.label}' as ${shapeText(this.shape)} ${this.dtype} must get ` +
          `${this.byteLength} bytes: current value is ${bytes.byteLength}`,
      );
    }
    await this.#eachPiece((piece, begin, end) =>
      this.device.upload(piece, bytes.subarray(begin, end))
    );
  }

  /** All elements' bytes in row-major order: a copy. */
  async toBytes(): Promise<Bytes> {
    const bytes = new Uint8Array(this.byteLength);
    await this.#eachPiece(async (piece, begin) => {
      bytes.set(await this.device.download(piece), begin);
    });
    return bytes;
  }

  /** All elements in row-major order, bf16 and f16 widened: a copy. @throws {TypeError} For integers. */
  async toFloats(): Promise<Float32Array<ArrayBuffer>> {
    if (!isFloatDType(this.dtype)) {
      throw new TypeError(
        `Cannot read tensor '${this.label}' as floats: current value is ${this.dtype}`,
      );
    }
    return elementsToFloats(await this.toBytes(), this.dtype);
  }

  /** All elements in row-major order: a copy. @throws {TypeError} For other dtypes than i32. */
  async toInts(): Promise<Int32Array<ArrayBuffer>> {
    this.#checkType("i32");
    return new Int32Array((await this.toBytes()).buffer);
  }

  /** Frees the memory, if this is its owner and not a view; a second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#ownsMemory) this.#memory[Symbol.dispose]();
  }

  #view(layout: { shape: readonly number[]; byteOffset: number; rowStride: number }): Tensor {
    this.#check();
    return new Tensor(this.device, {
      ...layout,
      dtype: this.dtype,
      label: this.label,
      memory: this.#memory,
      ownsMemory: false,
    });
  }

  #encode(data: Float32Array | Int32Array | Uint8Array): Uint8Array {
    if (data instanceof Uint8Array) return data;
    if (data instanceof Float32Array && isFloatDType(this.dtype)) {
      return floatsToElements(data, this.dtype);
    }
    if (data instanceof Float32Array || this.dtype !== "i32") {
      throw new TypeError(
        `Cannot write tensor '${this.label}' as ${this.dtype} must get ` +
          `${
            this.dtype === "i32" ? "integers" : this.dtype === "i8" ? "bytes" : "floats"
          }: current value is ${data.constructor.name}`,
      );
    }
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }

  /** Calls back for the whole tensor, or for each row where rows lie apart, with byte offsets. */
  async #eachPiece(
    copy: (piece: Tensor, begin: number, end: number) => Promise<void>,
  ): Promise<void> {
    if (this.contiguous) return await copy(this, 0, this.byteLength);
    const rowBytes = rowElements(this.shape) * DTYPE_BYTES[this.dtype];
    for (let row = 0; row < (this.shape[0] ?? 0); row++) {
      await copy(this.rows(row, 1), row * rowBytes, (row + 1) * rowBytes);
    }
  }

  /** Elements from the first to the last one, gaps included. */
  #spanElements(): number {
    if (this.size === 0) return 0;
    return ((this.shape[0] ?? 1) - 1) * this.rowStride + rowElements(this.shape);
  }

  #check(): void {
    if (this.#disposed) {
      throw new TypeError(`Cannot use tensor '${this.label}' as it is disposed`);
    }
  }

  #checkType(dtype: DType): void {
    if (this.dtype !== dtype) {
      throw new TypeError(
        `Cannot read tensor '${this.label}' as it must be ${dtype}: current value is ${this.dtype}`,
      );
    }
  }

  #checkSlice(what: string, slice: { start: number; count: number; limit: number }): void {
    const { start, count, limit } = slice;
    const valid = Number.isSafeInteger(start) && Number.isSafeInteger(count) && start >= 0 &&
      count >= 0 && start + count <= limit;
    if (!valid) {
      throw new RangeError(
        `Cannot slice tensor '${this.label}' as ${what}s must lie within 0 to ${limit}: ` +
          `current value is ${start} to ${start + count}`,
      );
    }
  }
}
